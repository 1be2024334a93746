//! Why a request was not answered, in `OpenAI`'s error shape.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::model::answer::Interrupted;
use crate::model::error_kind::ErrorKind;
use crate::model::provider_error::ProviderError;
use crate::usage::limits::BudgetUse;

/// An error answer: `{"error": {"message", "type", "code", "param", "retryable", …}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct LlmError {
    /// The HTTP status.
    pub status: StatusCode,
    /// `OpenAI`'s class of errors, the `type` of the body: `invalid_request_error`, `rate_limit_error`, …
    pub kind: &'static str,
    /// The error for programs: `budget_exhausted`, `provider_unavailable`, …
    pub code: &'static str,
    /// The error for people; never contains a key.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How long the caller should wait before it sends the request again.
    pub retry_after: Option<Duration>,
    /// Further fields of the body, by code: `limit` (its key in the configuration), `value`, `used`; `provider_status`; `hint`
    /// (what can be done).
    pub details: Map<String, Value>,
}

impl LlmError {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        let (retryable, retry_after, details) = (false, None, Map::new());
        Self { status, kind, code, message: message.into(), retryable, retry_after, details }
    }

    fn retryable(self, after: Option<Duration>) -> Self {
        Self { retryable: true, retry_after: after, ..self }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// The request cannot be understood.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_request", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the request is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "request_too_large", message)
    }

    pub(crate) fn slow_body() -> Self {
        let message = "the request took too long to arrive";
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "request_timeout", message)
            .retryable(None)
    }

    pub(crate) fn unknown_url(method: &Method, path: &str) -> Self {
        let path: String = path.chars().take(200).collect();
        let message = format!("unknown request URL: {method} {path}");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "unknown_url", message)
    }

    pub(crate) fn model_not_found(model: &str) -> Self {
        let model: String = model.chars().take(100).collect();
        let message = format!("this platform does not allow the model {model:?}");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "model_not_found", message)
    }

    pub(crate) fn model_without_price(model: &str) -> Self {
        let model: String = model.chars().take(100).collect();
        let message = format!("the cost of a session is limited, and the model {model:?} has no price");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "model_without_price", message)
    }

    pub(crate) fn invalid_key() -> Self {
        let message = "no token of an attempt: send one as `Authorization: Bearer …`";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", "invalid_api_key", message)
    }

    /// The token is valid, but its attempt has ended.
    pub(crate) fn expired_key() -> Self {
        let message = "the attempt that this token was issued to has ended";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", "invalid_api_key", message)
    }

    pub(crate) fn budget_exhausted(budget: BudgetUse) -> Self {
        let BudgetUse { scope, limit, value, used } = budget;
        let owner = scope.owner();
        let message = format!("{owner} is exhausted: {limit} is {value}, and {used} have been used");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", "budget_exhausted", message)
            .with("limit", limit)
            .with("value", value)
            .with("used", used)
            .with("hint", format!("the operator can raise {limit}"))
    }

    pub(crate) fn rate_limited(per_minute: u32, after: Duration) -> Self {
        let message = format!("more than {per_minute} requests in a minute");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded", message)
            .retryable(Some(after))
            .with("limit", "llm.max_requests_per_minute")
            .with("value", per_minute)
    }

    pub(crate) fn too_many_connections(max: usize) -> Self {
        let message = format!("more than {max} connections at a time from one container");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "too_many_connections", message)
            .retryable(Some(Duration::from_secs(1)))
    }

    pub(crate) fn store_unavailable() -> Self {
        let message = "the platform's store does not answer";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "store_unavailable", message)
            .retryable(Some(Duration::from_secs(1)))
    }

    /// There was no connection to the provider, or it broke before the first byte of the answer.
    pub(crate) fn provider_unreachable(what: &str) -> Self {
        let message = format!("the model's provider cannot be reached: {what}");
        Self::new(StatusCode::BAD_GATEWAY, "server_error", "provider_unavailable", message).retryable(None)
    }

    /// The answer broke before anything of a reply had come.
    pub(crate) fn provider_interrupted(interrupted: &Interrupted) -> Self {
        Self::provider_unreachable(&interrupted.to_string())
    }

    pub(crate) fn provider_timeout() -> Self {
        let message = "the model's provider did not answer in time";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", "provider_timeout", message)
            .retryable(None)
            .with("hint", "the operator can raise llm.first_byte_timeout")
    }

    /// The name of the provider's host is not known.
    pub(crate) fn provider_dns(host: &str) -> Self {
        let message = format!("the host name {host:?} of the model's provider cannot be resolved (DNS)");
        Self::new(StatusCode::BAD_GATEWAY, "server_error", "provider_dns", message)
            .with("hint", "the operator can correct llm.base_url, or the machine's DNS")
    }

    /// The provider's certificate is not trusted, or it does not speak TLS.
    pub(crate) fn provider_tls(host: &str, cause: &str) -> Self {
        let message = format!("the TLS connection to the model's provider {host} failed: {cause}");
        Self::new(StatusCode::BAD_GATEWAY, "server_error", "provider_tls", message)
            .with("hint", "the operator can name the certificate of a private authority: llm.ca_file")
    }

    /// The error that the provider has answered. `place` says where, if the address may be wrong.
    pub(crate) fn provider(error: ProviderError, place: &str) -> Self {
        let ProviderError { kind, message, status, retry_after } = error;
        let said = if message.is_empty() { "it gave no reason".to_owned() } else { message };
        let number = status.map(|status| format!(" (status {status})")).unwrap_or_default();
        let place = if place.is_empty() { String::new() } else { format!("; {place}") };
        let message = match kind {
            ErrorKind::RefusedKey => format!("the provider refused the platform's key{number}: {said}"),
            ErrorKind::RateLimited => format!("the model's provider limits the rate{number}: {said}"),
            ErrorKind::Unavailable => format!("the model's provider fails{number}: {said}"),
            ErrorKind::Quota
            | ErrorKind::Moderation
            | ErrorKind::Region
            | ErrorKind::ModelNotFound
            | ErrorKind::ContextTooLong
            | ErrorKind::BadUrl
            | ErrorKind::Refused => {
                format!("the model's provider refused the request{number}: {said}{place}")
            }
        };
        let (answered, class) = match kind {
            ErrorKind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error"),
            ErrorKind::Quota => (StatusCode::TOO_MANY_REQUESTS, "insufficient_quota"),
            ErrorKind::Unavailable | ErrorKind::RefusedKey | ErrorKind::BadUrl => {
                (StatusCode::BAD_GATEWAY, "server_error")
            }
            ErrorKind::ModelNotFound => (StatusCode::NOT_FOUND, "invalid_request_error"),
            ErrorKind::Moderation | ErrorKind::Region => (StatusCode::FORBIDDEN, "invalid_request_error"),
            ErrorKind::ContextTooLong | ErrorKind::Refused => {
                (StatusCode::BAD_REQUEST, "invalid_request_error")
            }
        };
        let mut error = Self::new(answered, class, kind.code(), message);
        if kind.is_passing() {
            error = error.retryable(retry_after);
        }
        if let Some(status) = status {
            error = error.with("provider_status", status);
        }
        match kind.hint() {
            Some(hint) => error.with("hint", hint),
            None => error,
        }
    }

    /// The status that the provider has answered with.
    pub(crate) fn provider_status(&self) -> Option<u64> {
        self.details.get("provider_status").and_then(Value::as_u64)
    }

    /// The body of the HTTP response.
    pub(crate) fn body(&self) -> Value {
        let mut error = self.details.clone();
        error.insert("message".into(), self.message.clone().into());
        error.insert("type".into(), self.kind.into());
        error.insert("code".into(), self.code.into());
        error.insert("param".into(), Value::Null);
        error.insert("retryable".into(), self.retryable.into());
        if let Some(after) = self.retry_after {
            error
                .insert("retry_after_ms".into(), u64::try_from(after.as_millis()).unwrap_or(u64::MAX).into());
        }
        json!({ "error": error })
    }
}

impl IntoResponse for LlmError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body())).into_response();
        if let Some(after) = self.retry_after {
            let seconds = HeaderValue::from(after.as_secs().max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
