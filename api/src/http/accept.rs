//! The `Accept` header (RFC 9110 section 12.5.1): which of the API's media types a client prefers.

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{Problem, Slug};

/// Whether the client accepts `media_type` (`type/subtype`); the most specific range that fits decides.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    preference(headers, media_type) > 0
}

/// How much the client wants `media_type`: 0 to 1000. All is welcome if it says nothing.
pub(crate) fn preference(headers: &HeaderMap, media_type: &str) -> u16 {
    if !headers.contains_key(header::ACCEPT) {
        return 1000;
    }
    let kind = media_type.split('/').next().unwrap_or("");
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let specific = match parts.next()?.to_ascii_lowercase() {
                exact if exact == media_type => 2,
                any if any == "*/*" => 0,
                half => (half.strip_suffix("/*")? == kind).then_some(1)?,
            };
            Some((specific, parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, quality)))
        })
        .max()
        .map_or(0, |(_, quality)| quality)
}

/// Passes a request on to a handler that answers in JSON, if the client accepts JSON.
pub(crate) async fn json(request: Request, next: Next) -> Result<Response, Problem> {
    if accepts(request.headers(), "application/json")
        || accepts(request.headers(), crate::http::problem::MEDIA_TYPE)
    {
        return Ok(next.run(request).await);
    }
    Err(Problem::new(Slug::NotAcceptable, "application/json is what is made here"))
}

/// A weight of 0 to 1 with at most three digits, in thousandths; one that cannot be read weighs nothing.
fn quality(text: &str) -> u16 {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    match (whole, digits.len() <= 3, format!("{digits:0<3}").parse::<u16>()) {
        ("0", true, Ok(thousandths)) => thousandths,
        ("1", true, Ok(0)) => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn weight(accept: &'static str, media_type: &str) -> u16 {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        preference(&headers, media_type)
    }

    #[test]
    fn the_most_specific_range_decides() {
        assert_eq!(preference(&HeaderMap::new(), "application/json"), 1000);
        for (accept, expected) in [
            ("*/*", 1000),
            ("application/json", 1000),
            ("Application/JSON;charset=utf-8", 1000),
            ("text/html, application/*;q=0.5, */*;q=0.1", 500),
            ("text/html", 0),
            ("application/json;q=0, */*", 0),
            ("application/json; q=0.25", 250),
            ("application/json;q=2", 0),
            ("", 0),
            (",;q=1,/", 0),
        ] {
            assert_eq!(weight(accept, "application/json"), expected, "{accept:?}");
        }
    }
}
