//! A path inside a workspace: checked text, before any file is touched.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{bytes_of, on_disk, text_of};

/// The longest path, in bytes on the disk.
pub const MAX_PATH: usize = 4096;

/// The longest name between two slashes, in bytes on the disk.
pub const MAX_NAME: usize = 255;

/// A relative path of plain names, such as `src/App.tsx`: no `..`, no `.`, no leading slash.
///
/// A name that a process gave may have any bytes: in the text, `\\` is a backslash, and `\xHH` a byte of a control character
/// or of what is not UTF-8.
///
/// A name on the path may still be a symbolic link; [`crate::Workspace`] checks where it leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspacePath(String);

/// Why a text is not a path inside a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// The text is empty.
    #[error("the path is empty")]
    Empty,
    /// The text begins with a slash.
    #[error("the path is absolute; it must be relative to the workspace")]
    Absolute,
    /// Two slashes follow each other, or the text ends with a slash.
    #[error("the path has an empty name in it")]
    EmptyName,
    /// A name is `.` or `..`.
    #[error("the path has a name of only dots in it")]
    Dots,
    /// A slash written as `%2f`.
    #[error("the path has a slash in it that is written as %2F")]
    Separator,
    /// A backslash that is not followed by what may follow one.
    #[error(
        "the path has a lone backslash in it: \\\\ stands for a backslash, \\xHH for a byte that is not text"
    )]
    Backslash,
    /// NUL or another control character.
    #[error("the path has a control character in it: all but NUL are written \\xHH")]
    Control,
    /// A name is longer than [`MAX_NAME`].
    #[error("the path has a name of more than {MAX_NAME} bytes in it")]
    LongName,
    /// The text is longer than [`MAX_PATH`].
    #[error("the path has more than {MAX_PATH} bytes")]
    Long,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the path is not percent-encoded UTF-8: a byte that is not text is written \\xHH (%5CxHH)")]
    Encoding,
}

impl WorkspacePath {
    /// Checks a path that is plain text, not percent-encoded.
    ///
    /// # Errors
    /// [`InvalidPath`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        if text.is_empty() {
            return Err(InvalidPath::Empty);
        }
        if text.len() > 4 * MAX_PATH {
            return Err(InvalidPath::Long);
        }
        if text.starts_with('/') {
            return Err(InvalidPath::Absolute);
        }
        text.split('/').try_for_each(check_name)?;
        let bytes = bytes_of(text).ok_or(InvalidPath::Backslash)?;
        if bytes.len() > MAX_PATH {
            return Err(InvalidPath::Long);
        }
        Ok(Self(text_of(&bytes).into_owned()))
    }

    /// Decodes the rest of a request target (RFC 3986 §2.1) exactly once, and checks the result. What a name has of `%` after
    /// that is part of the name.
    ///
    /// # Errors
    /// [`InvalidPath`] names the rule that the text breaks.
    pub fn from_url(raw: &str) -> Result<Self, InvalidPath> {
        if raw.len() > 12 * MAX_PATH {
            return Err(InvalidPath::Long);
        }
        let mut bytes = Vec::with_capacity(raw.len());
        let mut rest = raw.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let (byte, tail) = escape(rest).ok_or(InvalidPath::Encoding)?;
            if byte == b'/' {
                return Err(InvalidPath::Separator);
            }
            bytes.push(byte);
            rest = tail;
        }
        let text = String::from_utf8(bytes).map_err(|_| InvalidPath::Encoding)?;
        Self::parse(&text)
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last name.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The path of its directory; `None` is the workspace itself.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// The path as the system calls take it.
    pub(crate) fn on_disk(&self) -> Cow<'_, OsStr> {
        on_disk(&self.0)
    }

    /// Its names, first to last.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WorkspacePath {
    type Err = InvalidPath;
    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        Self::parse(text)
    }
}

impl TryFrom<String> for WorkspacePath {
    type Error = InvalidPath;
    fn try_from(text: String) -> Result<Self, InvalidPath> {
        Self::parse(&text)
    }
}

impl From<WorkspacePath> for String {
    fn from(path: WorkspacePath) -> Self {
        path.0
    }
}

/// Checks the text of one name between two slashes.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidPath> {
    match name {
        "" => return Err(InvalidPath::EmptyName),
        "." | ".." => return Err(InvalidPath::Dots),
        _ => {}
    }
    let bytes = bytes_of(name).ok_or(InvalidPath::Backslash)?;
    if bytes.contains(&0) || name.contains(char::is_control) {
        return Err(InvalidPath::Control);
    }
    if bytes.len() > MAX_NAME { Err(InvalidPath::LongName) } else { Ok(()) }
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn escape(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = bytes.split_first_chunk::<2>()?;
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some((value(digits[0])? << 4 | value(digits[1])?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_are_paths() {
        for good in
            ["a", "src/App.tsx", ".gitignore", "..a/b..", "a b/ü/日本", "50%", "a%41", &"x".repeat(255)]
        {
            assert_eq!(WorkspacePath::parse(good).unwrap().as_str(), good);
        }
        let path = WorkspacePath::parse("src/ui/App.tsx").unwrap();
        assert_eq!((path.parent(), path.name()), (Some("src/ui"), "App.tsx"));
        assert_eq!(WorkspacePath::parse("a").unwrap().parent(), None);
    }

    #[test]
    fn every_invalid_path_is_refused_with_its_own_reason() {
        use InvalidPath as I;
        let long = vec!["x".repeat(255); 17].join("/");
        for (bad, why) in [
            ("", I::Empty),
            ("/etc/passwd", I::Absolute),
            ("//a", I::Absolute),
            ("a//b", I::EmptyName),
            ("a/", I::EmptyName),
            ("..", I::Dots),
            ("a/../b", I::Dots),
            ("./a", I::Dots),
            ("a\\b", I::Backslash),
            ("..\\x", I::Backslash),
            ("\\x2E\\x2E/x", I::Backslash),
            ("a\\x00b", I::Control),
            ("a\0b", I::Control),
            ("a\nb", I::Control),
            ("a\u{85}b", I::Control),
            (&"x".repeat(256), I::LongName),
            (&long, I::Long),
        ] {
            assert_eq!(WorkspacePath::parse(bad), Err(why), "{bad:?}");
        }
        assert_eq!(long.len(), 4351);
    }

    #[test]
    fn a_url_is_decoded_exactly_once() {
        use InvalidPath as I;
        for (raw, path) in [
            ("a%20b", "a b"),
            ("%C3%BC.md", "ü.md"),
            ("a+b", "a+b"),
            ("100%25", "100%"),
            ("a%252Fb", "a%2Fb"),
            ("%252e%252e/x", "%2e%2e/x"),
            ("a%5C%5Cb", "a\\\\b"),
            ("caf%5CxE9", "caf\\xE9"),
            ("caf%5cxe9", "caf\\xE9"),
        ] {
            assert_eq!(WorkspacePath::from_url(raw).unwrap().as_str(), path);
        }
        for (raw, why) in [
            ("%2e%2e/x", I::Dots),
            ("%2e%2e%2fx", I::Separator),
            ("..%5cx", I::Backslash),
            ("a%2Fb", I::Separator),
            ("a%00b", I::Control),
            ("%ff", I::Encoding),
            ("%c0%ae%c0%ae/x", I::Encoding),
            ("a%", I::Encoding),
            ("a%2", I::Encoding),
            ("a%zz", I::Encoding),
            ("a%+1", I::Encoding),
            ("%2Fetc", I::Separator),
            ("/etc", I::Absolute),
        ] {
            assert_eq!(WorkspacePath::from_url(raw), Err(why), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn every_accepted_path_stays_below_its_directory(text in "[a./\\\\%2efx5c\u{0}]{0,40}") {
            for path in [WorkspacePath::parse(&text), WorkspacePath::from_url(&text)].into_iter().flatten() {
                prop_assert!(path.names().all(|name| check_name(name).is_ok()));
                prop_assert!(std::path::Path::new(&path.on_disk()).components()
                    .all(|part| matches!(part, std::path::Component::Normal(_))));
                prop_assert_eq!(WorkspacePath::parse(path.as_str()), Ok(path));
            }
        }
    }
}
