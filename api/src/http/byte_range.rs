//! The byte range of a `Range` header with one range (RFC 9110 section 14).
//!
//! Headers that are malformed or have several ranges are ignored, as the RFC allows, and numbers beyond 64 bits count as
//! the largest: the crates that parse ranges refuse both.

use std::ops::Range;

/// None of the file's bytes is in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsatisfiable;

/// The bytes of a file of `size` that `header` asks for. `None`: all of them, because it is malformed, has another
/// unit or asks for several ranges; such a header may be ignored, and is.
///
/// # Errors
/// [`Unsatisfiable`] if the file has none of these bytes.
pub(crate) fn parse(header: &str, size: u64) -> Result<Option<Range<u64>>, Unsatisfiable> {
    let range = match ends(header) {
        Ok((Some(first), Some(last))) if first <= last => first..last.saturating_add(1).min(size),
        Ok((Some(first), None)) => first..size,
        Ok((None, Some(suffix))) => size.saturating_sub(suffix)..size,
        Ok((Some(_), Some(_)) | (None, None)) | Err(Malformed) => return Ok(None),
    };
    if !range.is_empty() {
        return Ok(Some(range));
    }
    // of an empty file, the bytes from the first on are all that it has
    let is_all = size == 0 && range.start == 0 && !matches!(ends(header), Ok((None, Some(0))));
    if is_all { Ok(None) } else { Err(Unsatisfiable) }
}

/// Not one range of bytes.
struct Malformed;

/// The two numbers of the only range.
fn ends(header: &str) -> Result<(Option<u64>, Option<u64>), Malformed> {
    let (unit, set) = header.split_once('=').ok_or(Malformed)?;
    let (first, last) = set.trim().split_once('-').ok_or(Malformed)?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Err(Malformed);
    }
    Ok((number(first)?, number(last)?))
}

/// A number that may be absent; one beyond all files counts as the largest.
fn number(text: &str) -> Result<Option<u64>, Malformed> {
    match text {
        "" => Ok(None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(digits.parse().unwrap_or(u64::MAX))),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_met_as_far_as_the_file_goes() {
        for (header, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-99", 0..10),
            ("bytes=0-99999999999999999999", 0..10),
            ("bytes=3-", 3..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("Bytes=9-9", 9..10),
        ] {
            assert_eq!(parse(header, 10), Ok(Some(range)), "{header}");
        }
    }

    #[test]
    fn bytes_that_are_not_there_cannot_be_met() {
        for header in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(parse(header, 10), Err(Unsatisfiable), "{header}");
        }
        for header in ["bytes=1-", "bytes=5-9", "bytes=-0"] {
            assert_eq!(parse(header, 0), Err(Unsatisfiable), "{header} of an empty file");
        }
    }

    #[test]
    fn an_empty_file_is_sent_whole_from_its_first_byte_on() {
        for header in ["bytes=0-", "bytes=0-0", "bytes=0-99", "bytes=-1", "bytes=-99"] {
            assert_eq!(parse(header, 0), Ok(None), "{header}");
        }
    }

    #[test]
    fn anything_else_is_the_whole_file() {
        let many = format!("bytes={}", vec!["0-1"; 10_000].join(","));
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=x",
            "bytes=+1-2",
            "bytes=0-1,3-4",
            "lines=1-2",
            &many,
        ] {
            assert_eq!(parse(header, 10), Ok(None), "{header:.60}");
        }
    }
}
