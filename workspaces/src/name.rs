//! The text of a name, whatever bytes a process gave it: what is no plain text is written after a backslash.
//!
//! A file system takes any bytes but `/` and NUL for a name. In the text of a path, `\\` is a backslash, and `\xHH` is one
//! byte of a control character or of what is not UTF-8. Every name has exactly one text, and every text is of one name.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

/// The text of a name, or of a path.
pub(crate) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains(|letter: char| letter == '\\' || letter.is_control())
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                letter if letter.is_control() => {
                    escape(&mut text, letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                letter => text.push(letter),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    Cow::Owned(text)
}

/// The bytes of a name, or of a path, on the disk. `None`: no name has this text.
pub(crate) fn bytes_of(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        (bytes, rest) = match (byte, tail) {
            (b'\\', [b'\\', tail @ ..]) => (pushed(bytes, b'\\'), tail),
            (b'\\', [b'x', high, low, tail @ ..]) => (pushed(bytes, digit(*high)? << 4 | digit(*low)?), tail),
            (b'\\', _) => return None,
            (byte, tail) => (pushed(bytes, byte), tail),
        };
    }
    // only what has to be escaped may be: no text is a second one of the same name
    (text_of(&bytes).eq_ignore_ascii_case(text)).then_some(Cow::Owned(bytes))
}

/// What the system calls are given for a text that has been checked.
pub(crate) fn on_disk(text: &str) -> Cow<'_, OsStr> {
    match bytes_of(text) {
        Some(Cow::Borrowed(bytes)) => Cow::Borrowed(OsStr::from_bytes(bytes)),
        Some(Cow::Owned(bytes)) => Cow::Owned(OsStr::from_bytes(&bytes).to_owned()),
        None => Cow::Borrowed(OsStr::new(text)),
    }
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "\\x{byte:02X}").expect("memory takes every write");
    }
}

fn pushed(mut bytes: Vec<u8>, byte: u8) -> Vec<u8> {
    bytes.push(byte);
    bytes
}

fn digit(letter: u8) -> Option<u8> {
    char::from(letter).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_no_plain_text_is_written_with_backslashes() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            ("\u{fc}.md".as_bytes(), "\u{fc}.md"),
            (b"a\\b", "a\\\\b"),
            (b"caf\xe9", "caf\\xE9"),
            (b"\xff\xfe", "\\xFF\\xFE"),
            (b"a\nb", "a\\x0Ab"),
            (b"\xc2\x85", "\\xC2\\x85"),
            (b"\xe6\x97", "\\xE6\\x97"),
            (b"50%", "50%"),
        ] {
            assert_eq!(text_of(bytes), text);
            assert_eq!(bytes_of(text).as_deref(), Some(bytes));
        }
        assert_eq!(bytes_of("caf\\xe9").as_deref(), Some(&b"caf\xe9"[..]), "small digits are read");
    }

    #[test]
    fn no_name_has_two_texts() {
        for wrong in
            ["\\", "a\\b", "\\x", "\\x4", "\\x41", "\\xC3\\xA9", "\\x2E\\x2E", "\\x2F", "\\xZZ", "\\X0A"]
        {
            assert_eq!(bytes_of(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_read_back_from_its_text(bytes: Vec<u8>) {
            let text = text_of(&bytes).into_owned();
            prop_assert!(!text.contains(char::is_control));
            let read = bytes_of(&text);
            prop_assert_eq!(read.as_deref(), Some(&bytes[..]));
        }

        #[test]
        fn every_text_is_of_one_name(text in "[a\\\\xcCé0-9/]{0,12}") {
            if let Some(bytes) = bytes_of(&text) {
                prop_assert!(text_of(&bytes).eq_ignore_ascii_case(&text));
            }
        }
    }
}
