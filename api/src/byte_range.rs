//! The one byte range of a `Range` header (RFC 9110 section 14).

use std::ops::Range;

/// A `Range` header that cannot be met: malformed, several ranges, or none of the file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsatisfiable;

/// The bytes of a file of `size` that `header` asks for; `None`: all, because its unit is not bytes.
pub(crate) fn parse(header: &str, size: u64) -> Result<Option<Range<u64>>, Unsatisfiable> {
    let Some((unit, set)) = header.split_once('=') else { return Err(Unsatisfiable) };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ok(None);
    }
    let (first, last) = set.trim().split_once('-').ok_or(Unsatisfiable)?;
    let range = match (number(first)?, number(last)?) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) => first..size,
        (None, Some(suffix)) => size.saturating_sub(suffix)..size,
        (Some(_), Some(_)) | (None, None) => return Err(Unsatisfiable),
    };
    if range.is_empty() { Err(Unsatisfiable) } else { Ok(Some(range)) }
}

fn number(text: &str) -> Result<Option<u64>, Unsatisfiable> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Unsatisfiable);
    }
    text.parse().map(Some).map_err(|_| Unsatisfiable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_met_as_far_as_the_file_goes() {
        for (header, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-99", 0..10),
            ("bytes=3-", 3..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("Bytes=9-9", 9..10),
        ] {
            assert_eq!(parse(header, 10), Ok(Some(range)), "{header}");
        }
        assert_eq!(parse("lines=1-2", 10), Ok(None));
    }

    #[test]
    fn anything_else_is_not() {
        let many = format!("bytes={}", vec!["0-1"; 10_000].join(","));
        for bad in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=10-",
            "bytes=5-4",
            "bytes=-0",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=0-1,3-4",
            "bytes=99999999999999999999-",
            &many,
        ] {
            assert_eq!(parse(bad, 10), Err(Unsatisfiable), "{bad:.60}");
        }
        assert_eq!(parse("bytes=0-", 0), Err(Unsatisfiable));
    }
}
