//! `Last-Event-ID` and `after`: the number of the last event that a reader has.

use axum::http::HeaderMap;

use crate::http::{Problem, Slug};

/// The number of the last event the reader has: the header's (after a reconnect it is newer than the URL's
/// `after`), else `after`, else `None`.
///
/// # Errors
/// `invalid-last-event-id` if there is one that is not a number as we send it.
pub(crate) fn last_event_id(headers: &HeaderMap, after: Option<&str>) -> Result<Option<u64>, Problem> {
    let mut given = headers.get_all("last-event-id").iter();
    let text = match (given.next(), given.next()) {
        (None, _) => after,
        (Some(value), None) => Some(value.to_str().map_err(|_| invalid())?),
        (Some(_), Some(_)) => return Err(invalid()),
    };
    text.map(parse).transpose()
}

fn parse(text: &str) -> Result<u64, Problem> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or_else(invalid)
}

fn invalid() -> Problem {
    Problem::new(Slug::InvalidLastEventId, "an event id is one decimal number without sign or leading zeros")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(headers: &[&[u8]], after: Option<&str>) -> Result<Option<u64>, &'static str> {
        let value = |bytes: &&[u8]| HeaderValue::from_bytes(bytes).unwrap();
        let headers = headers.iter().map(|bytes| ("last-event-id".parse().unwrap(), value(bytes))).collect();
        last_event_id(&headers, after).map_err(|problem| problem.slug().as_str())
    }

    #[test]
    fn a_number_is_read_and_the_header_wins() {
        assert_eq!(read(&[], None), Ok(None));
        assert_eq!(read(&[], Some("0")), Ok(Some(0)));
        assert_eq!(read(&[b"7"], Some("3")), Ok(Some(7)));
        assert_eq!(read(&[b"18446744073709551615"], None), Ok(Some(u64::MAX)));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "abc",
            "-1",
            "+1",
            "1e30",
            "007",
            "00",
            " 1",
            "1 ",
            "1.0",
            "18446744073709551616",
            "٣",
            "1\0",
        ] {
            assert_eq!(read(&[], Some(bad)), Err("invalid-last-event-id"), "{bad:?}");
        }
        assert_eq!(read(&[b"1", b"1"], None), Err("invalid-last-event-id"));
        assert_eq!(read(&[b"\xff"], None), Err("invalid-last-event-id"));
        assert_eq!(read(&[b"x"], Some("1")), Err("invalid-last-event-id"));
    }
}
