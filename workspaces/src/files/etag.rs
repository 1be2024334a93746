//! The entity tag of a file: which version of it there is.

use std::fmt;
use std::str::FromStr;

use rustix::fs::Stat;
use serde::Serialize;

/// A strong validator (RFC 9110 §8.8.3): it changes whenever the file does, and costs one `stat` however large
/// the file is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// The entity tag of a file: its inode, its length, its modification time and its change time. A program can set
    /// the modification time; only the kernel sets the change time.
    pub(crate) fn of(stat: &Stat) -> Self {
        Self(format!(
            "\"{:x}-{:x}-{:x}.{:x}-{:x}.{:x}\"",
            stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec
        ))
    }

    /// The text as it is written in a header, quotes included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not an entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entity tag is text in double quotes")]
pub struct InvalidETag;

impl FromStr for ETag {
    type Err = InvalidETag;

    /// One entity tag of a header. A weak one (`W/"…"`) is kept as it is, and so is never equal to a file's.
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
}
