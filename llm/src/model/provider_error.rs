//! Reads the errors of providers: the reason in a body of any shape, and how long to wait. Pure.

use std::time::Duration;

use mgx_protocol::reply_error;
use serde_json::Value;

use crate::model::error_kind::ErrorKind;

/// How much of a provider's message is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 600;

/// How deep a body is looked into; providers put whole answers of other providers into theirs, as text.
const MAX_DEPTH: usize = 8;

/// An error as a provider has answered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderError {
    /// What kind of error it is.
    pub(crate) kind: ErrorKind,
    /// The provider's own words, without secrets; empty if it gave none.
    pub(crate) message: String,
    /// The HTTP status, or the one that the body names.
    pub(crate) status: Option<u16>,
    /// How long to wait, if the text says so.
    pub(crate) retry_after: Option<Duration>,
}

impl ProviderError {
    /// Reads the body of an answer with this status; `None`: a part of a stream. `secrets` are replaced.
    pub(crate) fn read(status: Option<u16>, body: &[u8], secrets: &[&str]) -> Self {
        let text = String::from_utf8_lossy(body);
        let json = serde_json::from_str::<Value>(text.trim()).ok();
        let (message, marks) = match &json {
            Some(json) => (message(json, 0).unwrap_or_default(), marks(json, 0)),
            None => (plain(&text), String::new()),
        };
        let named = json.as_ref().and_then(|json| number(json, 0));
        let status = status.filter(|status| *status >= 400 || named.is_none()).or(named);
        let message = clean(&message, secrets);
        let words = format!("{} {marks}", message.to_lowercase());
        let retry_after = json.as_ref().and_then(retry_info).or_else(|| seconds_in(&words));
        let kind = ErrorKind::of(status, &words, retry_after.is_some());
        Self { kind, message, status, retry_after }
    }

    /// Whether `value`, a whole answer or an event of a stream, is an error rather than a reply.
    pub(crate) fn is_error(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.first().is_some_and(Self::is_error),
            Value::Object(object) => {
                let has_reply =
                    object.get("choices").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
                let has_error =
                    object.get("error").is_some_and(|error| reply_error::is_reported(error, has_reply));
                let says_so = object.get("object") == Some(&Value::from("error"))
                    || object.get("type") == Some(&Value::from("error"));
                let is_bare = !object.contains_key("choices")
                    && !object.contains_key("usage")
                    && ["message", "detail", "msg", "error_msg", "errors"]
                        .iter()
                        .any(|key| object.contains_key(*key));
                has_error || (!has_reply && (says_so || is_bare))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
}

/// The reason in a body: the innermost text that says something.
fn message(value: &Value, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::String(text) => {
            let text = text.trim();
            let inner =
                text.starts_with(['{', '[']).then(|| serde_json::from_str::<Value>(text).ok()).flatten();
            inner
                .and_then(|inner| message(&inner, depth + 1))
                .or_else(|| (!text.is_empty()).then(|| text.to_owned()))
        }
        Value::Array(items) => {
            let all: Vec<_> = items.iter().take(4).filter_map(|item| message(item, depth + 1)).collect();
            (!all.is_empty()).then(|| all.join("; "))
        }
        Value::Object(object) => {
            let outer = [
                "error",
                "message",
                "detail",
                "msg",
                "error_msg",
                "error_message",
                "error_description",
                "errors",
                "title",
                "reason",
            ]
            .iter()
            .find_map(|key| message(object.get(*key)?, depth + 1));
            let place = object.get("loc").and_then(Value::as_array).map(|path| {
                path.iter()
                    .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
                    .collect::<Vec<_>>()
            });
            let outer = match (outer, place) {
                (Some(text), Some(place)) => Some(format!("{}: {text}", place.join("."))),
                (outer, _) => outer,
            };
            // OpenRouter puts the words of the provider behind it here
            let inner = object.get("metadata").and_then(|metadata| message(metadata.get("raw")?, depth + 1));
            match (outer, inner) {
                (Some(outer), Some(inner)) if outer != inner => Some(format!("{outer}: {inner}")),
                (outer, inner) => inner.or(outer),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The codes and types that a body names, in lower case.
fn marks(value: &Value, depth: usize) -> String {
    let mut all = Vec::new();
    if depth <= MAX_DEPTH {
        match value {
            Value::Object(object) => {
                for key in ["code", "type", "status"] {
                    all.extend(object.get(key).and_then(Value::as_str).map(str::to_lowercase));
                }
                all.extend(
                    ["error", "detail", "message"]
                        .iter()
                        .filter_map(|key| Some(marks(object.get(*key)?, depth + 1))),
                );
            }
            Value::Array(items) => all.extend(items.iter().take(4).map(|item| marks(item, depth + 1))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    all.join(" ")
}

/// The status that a body names.
fn number(value: &Value, depth: usize) -> Option<u16> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::Object(object) => {
            let own = ["code", "status", "status_code"].iter().find_map(|key| match object.get(*key)? {
                Value::Number(number) => number.as_u64(),
                Value::String(text) => text.parse().ok(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            });
            let own = own.and_then(|own| u16::try_from(own).ok()).filter(|own| (300..600).contains(own));
            own.or_else(|| number(object.get("error")?, depth + 1))
        }
        Value::Array(items) => number(items.first()?, depth + 1),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// `RetryInfo` in the details of a Google error: `{"@type": "…RetryInfo", "retryDelay": "20s"}`.
fn retry_info(value: &Value) -> Option<Duration> {
    let error = value.get(0).unwrap_or(value);
    let details = error["error"]["details"].as_array()?;
    let delay = details.iter().find_map(|detail| detail["retryDelay"].as_str())?;
    Duration::try_from_secs_f64(delay.strip_suffix('s')?.parse().ok()?).ok()
}

/// "try again in 20s", "retry after 1.5 seconds", "in 1m26.4s", "in 350ms" (`OpenAI`, Azure, Groq).
fn seconds_in(words: &str) -> Option<Duration> {
    let marks = ["try again in ", "try again after ", "retry after ", "retry in "];
    let (_, mut rest) = marks.iter().find_map(|mark| words.split_once(mark))?;
    let mut sum = None;
    loop {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let Ok(number) = rest[..digits].trim_end_matches('.').parse::<f64>() else { return sum };
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3600.0,
            _ => 1.0,
        };
        let span = Duration::try_from_secs_f64(number * unit).ok()?;
        sum = Some(sum.unwrap_or(Duration::ZERO).checked_add(span)?);
        rest = rest[letters..].trim_start_matches([' ', ',']);
    }
}

/// The title or the first heading of a page; plain text as it is.
fn plain(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.trim().to_owned();
    }
    // of the same length as the text
    let lower = text.to_ascii_lowercase();
    let part = |open: &str, close: &str| {
        let tag = lower.find(open)?;
        let start = tag + lower[tag..].find('>')? + 1;
        let end = start + lower[start..].find(close)?;
        Some(text[start..end].trim().to_owned()).filter(|part| !part.is_empty())
    };
    part("<title", "</title>").or_else(|| part("<h1", "</h1>")).unwrap_or_default()
}

/// A message without secrets, also where a provider quotes only the beginning of one, and without control characters.
fn clean(message: &str, secrets: &[&str]) -> String {
    /// How much of a secret is one all the same, in bytes.
    const MIN_PART: usize = 12;
    let mut text = message.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
        let mut length = secret.len();
        while length >= MIN_PART.min(secret.len()) {
            if secret.is_char_boundary(length) && text.contains(&secret[..length]) {
                text = text.replace(&secret[..length], "[redacted]");
            }
            length -= 1;
        }
    }
    let words: Vec<_> =
        text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-real-key-0123456789abcdef";

    fn read(status: u16, body: &str) -> ProviderError {
        ProviderError::read(Some(status), body.as_bytes(), &[KEY])
    }

    #[test]
    fn the_reason_is_found_in_every_shape() {
        for (body, reason) in [
            (r#"{"error":{"message":"m"}}"#, "m"),
            (r#"{"error":"m"}"#, "m"),
            (r#"[{"error":{"message":"m","code":400}}]"#, "m"),
            (r#"{"detail":"m"}"#, "m"),
            (r#"{"detail":[{"loc":["body","x"],"msg":"m"}]}"#, "body.x: m"),
            (r#"{"object":"error","message":"m","code":400}"#, "m"),
            (r#"{"object":"error","message":{"detail":[{"loc":["body","x"],"msg":"m"}]}}"#, "body.x: m"),
            (
                r#"{"error":{"message":"Provider returned error","metadata":{"raw":"{\"error\":{\"message\":\"m\"}}"}}}"#,
                "Provider returned error: m",
            ),
            (r#"{"code":"1213","msg":"m"}"#, "m"),
            (r#"{"errors":[{"message":"m"},{"message":"n"}]}"#, "m; n"),
            (r#"{"message":"m"}"#, "m"),
            ("m\r\n", "m"),
            ("<html><head><title>502 Bad Gateway</title></head></html>", "502 Bad Gateway"),
            ("<!DOCTYPE html><H1 class=x>Down\n again</H1>", "Down again"),
            ("<p>", ""),
            ("", ""),
        ] {
            assert_eq!(read(400, body).message, reason, "{body}");
        }
    }

    #[test]
    fn an_error_is_told_from_a_reply() {
        let is_error = |json: &str| ProviderError::is_error(&serde_json::from_str(json).unwrap());
        for error in [
            r#"{"error":{"message":"m"},"choices":[]}"#,
            r#"{"object":"error","message":"m"}"#,
            r#"[{"error":{"message":"m"}}]"#,
            r#"{"detail":"m"}"#,
            r#"{"type":"error","error":{"message":"m"}}"#,
        ] {
            assert!(is_error(error), "{error}");
        }
        for reply in [
            r#"{"choices":[{"delta":{}}]}"#,
            r#"{"choices":[{"delta":{}}],"error":null}"#,
            r#"{"choices":[{"delta":{}}],"error":{"code":0}}"#,
            r#"{"choices":[{"delta":{}}],"error":""}"#,
            r#"{"choices":[],"usage":{}}"#,
            r#"{"usage":{}}"#,
            r#"{"id":"1","choices":[],"prompt_filter_results":[]}"#,
        ] {
            assert!(!is_error(reply), "{reply}");
        }
    }

    #[test]
    fn secrets_are_taken_out_also_where_only_their_beginning_is_quoted() {
        let text =
            read(400, &format!(r#"{{"error":{{"message":"Bearer {KEY} and {}****"}}}}"#, &KEY[..16])).message;
        assert_eq!(text, "Bearer [redacted] and [redacted]****");
    }

    #[test]
    fn the_time_to_wait_is_read_from_the_text() {
        let after = |body: &str| read(429, body).retry_after.map(|after| after.as_millis());
        assert_eq!(after(r#"{"error":{"message":"Please try again in 20s."}}"#), Some(20_000));
        assert_eq!(after(r#"{"error":{"message":"try again in 350ms"}}"#), Some(350));
        assert_eq!(after(r#"{"error":{"message":"Please try again in 1m26.4s."}}"#), Some(86_400));
        assert_eq!(after(r#"{"error":{"message":"try again in a while"}}"#), None);
        assert_eq!(after(r#"{"error":{"message":"Please retry after 1.5 seconds"}}"#), Some(1_500));
        assert_eq!(after(r#"[{"error":{"message":"m","details":[{"retryDelay":"31s"}]}}]"#), Some(31_000));
        assert_eq!(after(r#"{"error":{"message":"slow down"}}"#), None);
    }
}
