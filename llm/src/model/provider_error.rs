//! The errors of providers: the reason in a body of any shape, what kind of error it is, and what can be done. Pure.

use std::time::Duration;

use serde_json::Value;

/// How much of a provider's message is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 600;

/// How deep a body is looked into; providers put whole answers of other providers into theirs, as text.
const MAX_DEPTH: usize = 8;

/// What kind of error a provider has answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// It fails, or is overloaded, or still loads its model.
    Unavailable,
    /// Too many requests or tokens in a short time.
    RateLimited,
    /// The account has no money or quota left.
    Quota,
    /// It does not take the key.
    RefusedKey,
    /// The request was flagged.
    Moderation,
    /// It does not serve this country or region.
    Region,
    /// It has no such model.
    ModelNotFound,
    /// The request is longer than the model's context.
    ContextTooLong,
    /// There is no such API at this address.
    BadUrl,
    /// It refuses the request for another reason.
    Refused,
}

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
        Self { kind: kind(status, &words), message, status, retry_after }
    }

    /// Whether `value`, a whole answer or an event of a stream, is an error rather than a reply.
    pub(crate) fn is_error(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.first().is_some_and(Self::is_error),
            Value::Object(object) => {
                let has_error = object.get("error").is_some_and(|error| !error.is_null() && error != false);
                let has_reply =
                    object.get("choices").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
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

impl ErrorKind {
    /// Its code in an answer of the proxy.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unavailable => "provider_unavailable",
            Self::RateLimited => "provider_rate_limited",
            Self::Quota => "provider_quota",
            Self::RefusedKey => "provider_refused_key",
            Self::Moderation => "provider_moderation",
            Self::Region => "provider_region",
            Self::ModelNotFound => "model_not_found",
            Self::ContextTooLong => "context_length_exceeded",
            Self::BadUrl => "provider_bad_url",
            Self::Refused => "provider_refused",
        }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_passing(self) -> bool {
        match self {
            Self::Unavailable | Self::RateLimited => true,
            Self::Quota
            | Self::RefusedKey
            | Self::Moderation
            | Self::Region
            | Self::ModelNotFound
            | Self::ContextTooLong
            | Self::BadUrl
            | Self::Refused => false,
        }
    }

    /// What can be done, and who can do it.
    pub(crate) fn hint(self) -> Option<&'static str> {
        match self {
            Self::Unavailable | Self::RateLimited | Self::ContextTooLong | Self::Refused => None,
            Self::Quota => Some("the operator can add money or quota at the provider"),
            Self::RefusedKey => Some("the operator can set another key: llm.api_key_file or OPENAI_API_KEY"),
            Self::Moderation => Some("reword the request, or use another provider"),
            Self::Region => Some("the operator can use a provider that serves this region: llm.base_url"),
            Self::ModelNotFound => Some(
                "the operator can name another model: agents.default_model, or agents.roles.<name>.model",
            ),
            Self::BadUrl => Some(
                "the operator can correct llm.base_url; it usually ends in /v1, without /chat/completions",
            ),
        }
    }
}

fn kind(status: Option<u16>, words: &str) -> ErrorKind {
    let says = |any: &[&str]| any.iter().any(|word| words.contains(word));
    let is_long = says(&[
        "context length",
        "context_length",
        "maximum context",
        "context window",
        "context size",
        "exceed_context",
        "prompt is too long",
        "input is too long",
        "too many input tokens",
        "reduce the length",
        "max_model_len",
        "n_ctx",
        "input token count",
        "longer than the model",
        "maximum prompt length",
        "range of input length",
        "exceeds the maximum number of tokens",
        "max_prompt_tokens",
        "token count exceeds",
    ]) || (says(&["token"])
        && says(&["must be <=", "must be less than or equal", "exceeds the limit of"]));
    let is_passing_status = matches!(status, Some(408 | 409 | 425 | 429 | 500..));
    if is_long && !is_passing_status {
        return ErrorKind::ContextTooLong;
    }
    let no_money = says(&[
        "insufficient_quota",
        "exceeded your current quota",
        "insufficient balance",
        "insufficient_balance",
        "billing",
        "credit balance",
        "insufficient credits",
        "out of credits",
        "add credits",
        "no credits",
        "arrearage",
        "per-day",
        "per day",
        "credits to unlock",
        "quota exceeded for the month",
        "payment",
    ]);
    if status == Some(402) || (no_money && matches!(status, None | Some(400 | 401 | 403 | 429))) {
        return ErrorKind::Quota;
    }
    if !is_passing_status {
        if says(&[
            "moderation",
            "flagged",
            "content policy",
            "content_policy",
            "content management policy",
            "content_filter",
            "data_inspection_failed",
            "inappropriate content",
            "safety system",
            "responsibleaipolicy",
            "sensitive",
        ]) {
            return ErrorKind::Moderation;
        }
        if says(&[
            "country",
            "unsupported_country",
            "your region",
            "location is not supported",
            "territory",
            "not available in your",
        ]) {
            return ErrorKind::Region;
        }
        let is_about_model = says(&["model"])
            && says(&[
                "model_not_found",
                "not found",
                "not exist",
                "no such model",
                "unknown model",
                "not a valid model",
                "not supported for",
                "is not available",
                "does not have access",
                "not_found_error",
                "invalid model",
            ]);
        if is_about_model && matches!(status, None | Some(400 | 403 | 404 | 422)) {
            return ErrorKind::ModelNotFound;
        }
    }
    let is_about_key = says(&[
        "api key",
        "api_key",
        "apikey",
        "api-key",
        "invalid_api_key",
        "credential",
        "authentication",
        "unauthenticated",
        "access token",
        "authorization header",
        "incorrect key",
        "invalid key",
        "key has been",
    ]);
    match status {
        Some(401) => ErrorKind::RefusedKey,
        None | Some(400 | 403) if is_about_key => ErrorKind::RefusedKey,
        Some(429) => ErrorKind::RateLimited,
        Some(404 | 405 | 300..400) => ErrorKind::BadUrl,
        Some(408 | 409 | 425 | 500..) => ErrorKind::Unavailable,
        Some(_) => ErrorKind::Refused,
        None if says(&["rate limit", "rate_limit", "too many requests", "throttl"]) => ErrorKind::RateLimited,
        None if says(&["invalid_request", "bad request", "badrequest", "invalid argument"]) => {
            ErrorKind::Refused
        }
        None => ErrorKind::Unavailable,
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

/// "try again in 20s", "retry after 1.5 seconds", "in 350ms" (`OpenAI`, Azure, Groq).
fn seconds_in(words: &str) -> Option<Duration> {
    let (_, rest) = ["try again in ", "retry after ", "retry in "]
        .iter()
        .find_map(|words_before| words.split_once(words_before))?;
    let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
    let number: f64 = rest[..digits].trim_end_matches('.').parse().ok()?;
    let unit = rest[digits..].trim_start();
    let seconds = if unit.starts_with("ms") || unit.starts_with("milli") {
        number / 1000.0
    } else if unit.starts_with('m') {
        number * 60.0
    } else if unit.starts_with('h') {
        number * 3600.0
    } else {
        number
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// The text of a page or of plain text.
fn plain(text: &str) -> String {
    let title = text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    match title {
        Some((title, _)) => title.trim().to_owned(),
        None if text.trim_start().starts_with('<') => String::new(),
        None => text.trim().to_owned(),
    }
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
            ("<p>", ""),
            ("", ""),
        ] {
            assert_eq!(read(400, body).message, reason, "{body}");
        }
    }

    #[test]
    fn every_kind_is_told_from_the_others() {
        use ErrorKind as K;
        for (status, body, kind) in [
            (401, r#"{"error":{"message":"Incorrect API key provided"}}"#, K::RefusedKey),
            (402, r#"{"error":{"message":"Insufficient Balance"}}"#, K::Quota),
            (403, r#"{"error":{"message":"Your input was flagged for violence"}}"#, K::Moderation),
            (403, r#"{"error":{"message":"Country, region, or territory not supported"}}"#, K::Region),
            (403, r#"{"error":{"message":"Forbidden by the firewall"}}"#, K::Refused),
            (403, r#"{"error":{"message":"Your API key lacks a scope"}}"#, K::RefusedKey),
            (
                400,
                r#"[{"error":{"message":"API key not valid. Please pass a valid API key."}}]"#,
                K::RefusedKey,
            ),
            (
                404,
                r#"{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}"#,
                K::ModelNotFound,
            ),
            (404, "404 page not found", K::BadUrl),
            (308, "", K::BadUrl),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
                K::Quota,
            ),
            (
                429,
                r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits"}}"#,
                K::Quota,
            ),
            (429, r#"{"error":{"message":"Rate limit reached for TPM"}}"#, K::RateLimited),
            (503, r#"{"error":{"message":"Loading model"}}"#, K::Unavailable),
            (529, r#"{"error":{"type":"overloaded_error","message":"Overloaded"}}"#, K::Unavailable),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 32768 tokens."}}"#,
                K::ContextTooLong,
            ),
            (
                400,
                r#"{"error":{"message":"`inputs` tokens + `max_new_tokens` must be <= 40960"}}"#,
                K::ContextTooLong,
            ),
            (
                400,
                r#"{"error":{"type":"exceed_context_size_error","message":"too long"}}"#,
                K::ContextTooLong,
            ),
            (413, r#"{"error":{"message":"prompt is too long: 210000 tokens"}}"#, K::ContextTooLong),
            (422, r#"{"detail":"stream_options"}"#, K::Refused),
            (200, r#"{"error":{"message":"m","code":429}}"#, K::RateLimited),
            (200, r#"{"error":{"message":"m","code":"400"}}"#, K::Refused),
        ] {
            assert_eq!(read(status, body).kind, kind, "{status} {body}");
        }
        let of_stream = |body: &str| ProviderError::read(None, body.as_bytes(), &[]).kind;
        assert_eq!(of_stream(r#"{"error":{"message":"m","code":"invalid_api_key"}}"#), K::RefusedKey);
        assert_eq!(of_stream(r#"{"error":{"message":"upstream broke"}}"#), K::Unavailable);
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
        assert_eq!(after(r#"{"error":{"message":"Please retry after 1.5 seconds"}}"#), Some(1_500));
        assert_eq!(after(r#"[{"error":{"message":"m","details":[{"retryDelay":"31s"}]}}]"#), Some(31_000));
        assert_eq!(after(r#"{"error":{"message":"slow down"}}"#), None);
    }
}
