//! What callers are told about files: entries of a list, files that are open, files that were written.

use jiff::Timestamp;
use rustix::fs::Stat;
use serde::Serialize;

use crate::files::etag::ETag;

/// A file that is open for reading.
#[derive(Debug)]
pub struct FileView {
    /// Its length in bytes when it was opened; it may change while it is read.
    pub size: u64,
    /// Its version when it was opened.
    pub etag: ETag,
    /// When it was last written.
    pub modified: Timestamp,
    /// Its bytes, from the first.
    pub file: tokio::fs::File,
}

/// A file that has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its new version.
    pub etag: ETag,
    /// Whether there was no such file before.
    pub created: bool,
}

/// A file, directory or link in a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The text of its path, relative to the workspace: that of a [`crate::WorkspacePath`].
    pub path: String,
    /// The last name of the path.
    pub name: String,
    /// Its kind.
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

/// The kind of an entry.
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
    /// The entries, sorted: a directory stands before its own entries.
    pub entries: Vec<Entry>,
    /// The `after` of the next page, if there is one.
    pub next: Option<String>,
}

/// When a file was last written.
pub(crate) fn modified(stat: &Stat) -> Timestamp {
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Timestamp::new(stat.st_mtime, nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}
