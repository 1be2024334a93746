//! A path inside a workspace: checked text, before any file is touched.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest path, in bytes.
pub const MAX_PATH: usize = 4096;

/// The longest name between two slashes, in bytes.
pub const MAX_NAME: usize = 255;

/// A relative path of plain names, such as `src/App.tsx`: no `..`, no `.`, no leading slash.
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
    /// A backslash, or a slash written as `%2f`.
    #[error("the path has a disguised slash in it")]
    Separator,
    /// NUL or another control character.
    #[error("the path has a control character in it")]
    Control,
    /// A name is longer than [`MAX_NAME`].
    #[error("the path has a name of more than {MAX_NAME} bytes in it")]
    LongName,
    /// The text is longer than [`MAX_PATH`].
    #[error("the path has more than {MAX_PATH} bytes")]
    Long,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the path is not percent-encoded UTF-8")]
    Encoding,
    /// The decoded text is encoded once more.
    #[error("the path is percent-encoded twice")]
    DoubleEncoding,
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
        if text.len() > MAX_PATH {
            return Err(InvalidPath::Long);
        }
        if text.starts_with('/') {
            return Err(InvalidPath::Absolute);
        }
        text.split('/').try_for_each(check_name)?;
        Ok(Self(text.to_owned()))
    }

    /// Decodes the rest of a request target (RFC 3986 §2.1) exactly once, and checks the result.
    ///
    /// # Errors
    /// [`InvalidPath`] names the rule that the text breaks.
    pub fn from_url(raw: &str) -> Result<Self, InvalidPath> {
        if raw.len() > 3 * MAX_PATH {
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
            if matches!(byte, b'/' | b'\\') {
                return Err(InvalidPath::Separator);
            }
            bytes.push(byte);
            rest = tail;
        }
        let text = String::from_utf8(bytes).map_err(|_| InvalidPath::Encoding)?;
        if contains_an_escape(&text) {
            return Err(InvalidPath::DoubleEncoding);
        }
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

/// Checks one name between two slashes.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidPath> {
    match name {
        "" => Err(InvalidPath::EmptyName),
        "." | ".." => Err(InvalidPath::Dots),
        name if name.len() > MAX_NAME => Err(InvalidPath::LongName),
        name if name.contains('\\') => Err(InvalidPath::Separator),
        name if name.contains(char::is_control) => Err(InvalidPath::Control),
        _ => Ok(()),
    }
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn escape(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = bytes.split_first_chunk::<2>()?;
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some((value(digits[0])? << 4 | value(digits[1])?, rest))
}

/// Whether decoded text still contains an encoded dot, slash, backslash, percent sign or NUL. No ordinary file is
/// named so; an attacker names one so in the hope that the text is decoded a second time.
fn contains_an_escape(text: &str) -> bool {
    text.as_bytes().windows(3).any(|window| {
        window[0] == b'%'
            && escape(&window[1..]).is_some_and(|(byte, _)| matches!(byte, b'.' | b'/' | b'\\' | b'%' | 0))
    })
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
            ("a\\b", I::Separator),
            ("..\\x", I::Separator),
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
        for (raw, path) in [("a%20b", "a b"), ("%C3%BC.md", "ü.md"), ("a+b", "a+b"), ("100%25", "100%")] {
            assert_eq!(WorkspacePath::from_url(raw).unwrap().as_str(), path);
        }
        for (raw, why) in [
            ("%2e%2e/x", I::Dots),
            ("%2e%2e%2fx", I::Separator),
            ("..%5cx", I::Separator),
            ("a%2Fb", I::Separator),
            ("%252e%252e/x", I::DoubleEncoding),
            ("a%252fb", I::DoubleEncoding),
            ("%25252e", I::DoubleEncoding),
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
        fn every_accepted_path_stays_below_its_directory(text in "[a./\\\\%2ef5c\u{0}]{0,40}") {
            for path in [WorkspacePath::parse(&text), WorkspacePath::from_url(&text)].into_iter().flatten() {
                prop_assert!(path.names().all(|name| check_name(name).is_ok()));
                prop_assert!(std::path::Path::new(path.as_str()).components()
                    .all(|part| matches!(part, std::path::Component::Normal(_))));
                prop_assert_eq!(WorkspacePath::parse(path.as_str()), Ok(path));
            }
        }
    }
}
