//! What is said about files of a workspace: entries, versions, conditions and what can go wrong.

use std::fmt;
use std::io;
use std::str::FromStr;

use jiff::Timestamp;
use rustix::fs::Stat;
use rustix::io::Errno;
use serde::Serialize;

use crate::path::InvalidPath;

/// A strong validator (RFC 9110 §8.8.3): it changes whenever the file does, and costs one `stat` however large
/// the file is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// The version that a file is at: which file it is, how long, and its two clocks. The kernel moves the
    /// second, the change time, whatever a program does with the first.
    pub(crate) fn of(stat: &Stat) -> Self {
        Self(format!(
            "\"{:x}-{:x}-{:x}.{:x}-{:x}.{:x}\"",
            stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec
        ))
    }

    /// As it stands in a header, quotes included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not an entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entity tag is text in double quotes")]
pub struct InvalidETag;

impl FromStr for ETag {
    type Err = InvalidETag;

    /// One entity tag of a header. A weak one (`W/"…"`) is taken as it is, and so is never equal to a file's.
    fn from_str(text: &str) -> Result<Self, InvalidETag> {
        let opaque = text.strip_prefix("W/").unwrap_or(text);
        let inside = opaque.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(InvalidETag)?;
        let plain = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte);
        if text.len() <= 256 && inside.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidETag)
        }
    }
}

/// What must be so for a file to be written or deleted (RFC 9110 §13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is no such file: `If-None-Match: *`.
    Absent,
    /// There is such a file: `If-Match: *`.
    Exists,
    /// The file is at one of these versions: `If-Match: "…", "…"`.
    Matches(Vec<ETag>),
}

impl Condition {
    /// Holds it against the version that is there.
    pub(crate) fn check(&self, current: Option<ETag>) -> Result<(), FileError> {
        let holds = match self {
            Self::Always => true,
            Self::Absent => current.is_none(),
            Self::Exists => current.is_some(),
            Self::Matches(tags) => current.as_ref().is_some_and(|current| tags.contains(current)),
        };
        if holds { Ok(()) } else { Err(FileError::EtagMismatch { current }) }
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct FileView {
    /// Its length in bytes when it was opened; it may change while it is read.
    pub size: u64,
    /// The version it was at when it was opened.
    pub etag: ETag,
    /// When it was last written.
    pub modified: Timestamp,
    /// Its bytes, from the first.
    pub file: tokio::fs::File,
}

/// A file that has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The version it is at now.
    pub etag: ETag,
    /// Whether there was none before.
    pub created: bool,
}

/// Something that lies in a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its path from the workspace.
    pub path: String,
    /// The last name of the path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its length in bytes; 0 for all but files.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// Its version, if it is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
}

impl Entry {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == EntryKind::Directory
    }
}

/// What lies in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, wherever it leads.
    Symlink,
    /// A FIFO, a socket or a device.
    Other,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// At most as many as were asked for, sorted: a directory stands before what lies in it.
    pub entries: Vec<Entry>,
    /// Where the next page begins (`after`), if there is one.
    pub next: Option<String>,
}

/// Why nothing was done with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The text is no path.
    #[error(transparent)]
    InvalidPath(#[from] InvalidPath),
    /// The path leads out of the workspace, or in circles.
    #[error("the path leads out of the workspace")]
    Escape,
    /// There is nothing.
    #[error("no such file")]
    NotFound,
    /// It is there, but no regular file: a directory, FIFO, socket, device, link, or a file that other names
    /// share.
    #[error("not a regular file")]
    NotRegular,
    /// A name on the way to it is not a directory, or it is no directory itself.
    #[error("not a directory")]
    NotDirectory,
    /// The condition does not hold.
    #[error("the file is not at the expected version")]
    EtagMismatch {
        /// The version it is at, if there is a file.
        current: Option<ETag>,
    },
    /// It is larger than a file may be.
    #[error("the file has more than {limit} bytes")]
    TooLarge {
        /// Bytes a file may have.
        limit: u64,
    },
    /// There is no room for it.
    #[error("the workspace is full")]
    Full,
    /// The file system failed; the operator can see why.
    #[error("the file system failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => Self::from(errno),
            None => Self::Io(error),
        }
    }
}

impl From<Errno> for FileError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            // the two answers of openat2(2) to a path that leaves its directory
            Errno::XDEV | Errno::LOOP => Self::Escape,
            Errno::NOTDIR => Self::NotDirectory,
            // a directory opened for writing; a socket or device without a driver opened at all
            Errno::ISDIR | Errno::NXIO | Errno::NODEV => Self::NotRegular,
            Errno::NOSPC | Errno::DQUOT => Self::Full,
            Errno::NAMETOOLONG => Self::InvalidPath(InvalidPath::LongName),
            other => Self::Io(other.into()),
        }
    }
}

/// When a file was last written.
pub(crate) fn modified(stat: &Stat) -> Timestamp {
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Timestamp::new(stat.st_mtime, nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_quoted_text_and_a_weak_one_matches_nothing() {
        let strong: ETag = "\"1-2-3\"".parse().unwrap();
        let weak: ETag = "W/\"1-2-3\"".parse().unwrap();
        assert_ne!(strong, weak);
        for bad in ["", "x", "\"", "\"a\"b\"", "\"a b\"", "w/\"a\"", &format!("\"{}\"", "x".repeat(300))] {
            assert!(bad.parse::<ETag>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_condition_says_what_is_there_instead() {
        let tag: ETag = "\"1\"".parse().unwrap();
        let other: ETag = "\"2\"".parse().unwrap();
        assert!(Condition::Matches(vec![other.clone(), tag.clone()]).check(Some(tag.clone())).is_ok());
        assert!(Condition::Absent.check(None).is_ok());
        assert!(Condition::Exists.check(Some(tag.clone())).is_ok());
        for (condition, current) in [
            (Condition::Matches(vec![other]), Some(tag.clone())),
            (Condition::Absent, Some(tag)),
            (Condition::Exists, None),
        ] {
            let FileError::EtagMismatch { current: told } = condition.check(current.clone()).unwrap_err()
            else {
                panic!("{condition:?} is no mismatch")
            };
            assert_eq!(told, current);
        }
    }
}
