//! Why there is no reply: what the proxy answered, or what became of the connection to it.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use serde_json::Value;

use crate::team::report::reporter::cut;

/// How much of an error's text is reported, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LlmError {
    /// The proxy or the provider refused the request, or cannot serve it now.
    #[error("{0}")]
    Answered(Box<AnsweredError>),
    /// There is no connection to the proxy, or it broke.
    #[error("the connection to the platform failed: {0}")]
    Connection(String),
    /// The stream ended too early.
    #[error("the model's reply was cut off")]
    Cut,
    /// The answer is neither an event stream nor JSON.
    #[error("the model service answered something that is no reply: {0}")]
    Unreadable(String),
    /// The service sent nothing for too long.
    #[error("the model service sent nothing for {} s", .0.as_secs())]
    Idle(Duration),
    /// The reply is longer than the limits.
    #[error("the model's reply is too large")]
    TooLarge,
    /// The provider stays away longer than this attempt may wait; the job is to go on after this time.
    #[error("{reason}")]
    Away { reason: String, resume_after: Duration },
    /// The runner takes no events any more.
    #[error("cannot report: {0}")]
    Report(#[from] io::Error),
}

/// An error as the proxy answers it: `{"error": {"message", "code", "retryable", "retry_after_ms", "hint"}}`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct AnsweredError {
    /// The HTTP status; `None` for an error in mid-stream.
    pub(crate) status: Option<u16>,
    /// The error for programs, such as `provider_rate_limited`.
    pub(crate) code: String,
    /// The error for people, with what to do.
    pub(crate) message: String,
    /// Whether the same request may succeed later.
    pub(crate) is_retryable: bool,
    /// How long to wait before.
    pub(crate) retry_after: Option<Duration>,
}

impl LlmError {
    /// The error in a body, or in an event; `retry_after` is that of the header, in seconds.
    pub(crate) fn of_body(status: Option<u16>, body: &Value, retry_after: Option<Duration>) -> Self {
        let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
        let text = ["message", "detail", "msg"].iter().find_map(|key| error.get(*key)).unwrap_or(error);
        let mut message = match text.as_str() {
            Some(text) => cut(text, MAX_TEXT_BYTES),
            None => cut(&text.to_string(), MAX_TEXT_BYTES),
        };
        if message.trim().is_empty() {
            "the model service gave no reason".clone_into(&mut message);
        }
        if let Some(hint) = error["hint"].as_str() {
            // writing into a String cannot fail
            write!(message, " ({})", cut(hint, MAX_TEXT_BYTES)).ok();
        }
        let by_status = matches!(status, None | Some(408 | 409 | 425 | 429 | 500..));
        let millis = error["retry_after_ms"].as_u64().map(Duration::from_millis);
        Self::Answered(Box::new(AnsweredError {
            status,
            code: error["code"].as_str().unwrap_or_default().to_owned(),
            message,
            is_retryable: error["retryable"].as_bool().unwrap_or(by_status),
            retry_after: millis.or(retry_after),
        }))
    }

    /// The value of `error_type` in its event.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Answered(error) if !error.code.is_empty() => &error.code,
            Self::Answered(error) if error.is_retryable => "llm_unavailable",
            Self::Answered(_) | Self::TooLarge => "llm_refused",
            Self::Away { .. } | Self::Connection(_) | Self::Cut | Self::Unreadable(_) => "llm_unavailable",
            Self::Idle(_) => "llm_timeout",
            Self::Report(_) => "runner_gone",
        }
    }

    /// Whether the provider refused the request because it is longer than the model's context.
    pub(crate) fn is_context_too_long(&self) -> bool {
        match self {
            Self::Answered(error) => error.code == "context_length_exceeded",
            Self::Connection(_)
            | Self::Cut
            | Self::Unreadable(_)
            | Self::Idle(_)
            | Self::TooLarge
            | Self::Away { .. }
            | Self::Report(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_says_what_happened_and_what_to_do() {
        let error = LlmError::of_body(
            Some(429),
            &json!({ "error": { "message": "slow down", "code": "provider_rate_limited", "retryable": true,
                "retry_after_ms": 1500, "hint": "wait" } }),
            None,
        );
        let LlmError::Answered(answered) = &error else { panic!("{error}") };
        assert_eq!((error.to_string().as_str(), error.kind()), ("slow down (wait)", "provider_rate_limited"));
        assert_eq!((answered.is_retryable, answered.retry_after), (true, Some(Duration::from_millis(1500))));
        let error = LlmError::of_body(Some(404), &json!("not found"), None);
        assert_eq!((error.to_string().as_str(), error.kind()), ("not found", "llm_refused"));
        let error = LlmError::of_body(Some(503), &json!(""), Some(Duration::from_secs(2)));
        assert_eq!(
            (error.to_string().as_str(), error.kind()),
            ("the model service gave no reason", "llm_unavailable")
        );
        let long =
            json!({ "error": { "message": "m", "code": "context_length_exceeded", "retryable": false } });
        assert!(LlmError::of_body(Some(400), &long, None).is_context_too_long());
    }
}
