//! How long a provider asks to wait, in all the headers that providers use for it. Pure.

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// The time to wait from `now`: `retry-after-ms`, `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), or the reset of
/// a rate limit that is used up (`x-ratelimit-reset-*`, such as `1m30s` or `250ms`).
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let millis =
        text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()).map(|millis| millis / 1000.0);
    if let Some(seconds) = millis.or_else(|| text("retry-after")?.parse().ok()) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    if let Some(date) = text("retry-after") {
        let at = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(date).ok()?;
        return Some(Duration::try_from(at.duration_since(now)).unwrap_or_default());
    }
    ["requests", "tokens"]
        .into_iter()
        .filter(|what| text(&format!("x-ratelimit-remaining-{what}")) == Some("0"))
        .filter_map(|what| span(text(&format!("x-ratelimit-reset-{what}"))?))
        .max()
}

/// A span such as `1m30s`, `250ms`, `6h` or `1.5` (seconds).
fn span(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        total += number
            * match &rest[digits..unit_end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(headers: &[(&'static str, &str)]) -> Option<f64> {
        let headers =
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        retry_after(&headers.collect(), now).map(|after| after.as_secs_f64())
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(seconds(&[("retry-after", "60")]), Some(60.0));
        assert_eq!(seconds(&[("retry-after", "1.5")]), Some(1.5));
        assert_eq!(seconds(&[("retry-after-ms", "1500"), ("retry-after", "2")]), Some(1.5));
        assert_eq!(seconds(&[("retry-after", "Thu, 01 Jan 2026 00:01:00 GMT")]), Some(60.0));
        assert_eq!(seconds(&[("retry-after", "Wed, 31 Dec 2025 00:00:00 GMT")]), Some(0.0));
        let reset = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1m30s")];
        assert_eq!(seconds(&reset), Some(90.0));
        let left = [("x-ratelimit-remaining-requests", "7"), ("x-ratelimit-reset-requests", "250ms")];
        assert_eq!(seconds(&left), None);
        assert_eq!((seconds(&[("retry-after", "soon")]), seconds(&[])), (None, None));
    }
}
