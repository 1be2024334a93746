//! Why a request was not answered, in `OpenAI`'s error shape.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

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
    /// Further fields of the body, by code: `limit` (its key in the configuration), `value`, `used`; `provider_status`.
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

    pub(crate) fn budget_exhausted(limit: &'static str, value: u64, used: u64) -> Self {
        let message =
            format!("the session's budget is exhausted: {limit} is {value}, and {used} have been used");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", "budget_exhausted", message)
            .with("limit", limit)
            .with("value", value)
            .with("used", used)
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
        let message = format!("the model provider cannot be reached: {what}");
        Self::new(StatusCode::BAD_GATEWAY, "server_error", "provider_unreachable", message).retryable(None)
    }

    pub(crate) fn provider_timeout() -> Self {
        let message = "the model provider did not answer in time";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", "provider_timeout", message).retryable(None)
    }

    /// The provider answered with another status than 200. `message` is its error message without secrets.
    pub(crate) fn provider_status(
        status: StatusCode,
        message: Option<&str>,
        retry_after: Option<Duration>,
    ) -> Self {
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        let number = status.as_u16();
        let error = match number {
            // providers quote keys in this message, so it is left out
            401 | 403 => Self::new(
                StatusCode::BAD_GATEWAY,
                "server_error",
                "provider_refused_key",
                format!("the provider refused the platform's key (status {number}); the operator must act"),
            ),
            429 => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "provider_rate_limited",
                format!("the model provider is rate limited (status 429){message}"),
            )
            .retryable(retry_after),
            408 | 409 | 500.. => Self::new(
                StatusCode::BAD_GATEWAY,
                "server_error",
                "provider_unavailable",
                format!("the model provider failed (status {number}){message}"),
            )
            .retryable(retry_after),
            400..500 => Self::new(
                status,
                "invalid_request_error",
                "provider_rejected",
                format!("the model provider refused the request (status {number}){message}"),
            ),
            _ => Self::new(
                StatusCode::BAD_GATEWAY,
                "server_error",
                "provider_unexpected",
                format!("the model provider answered with status {number}"),
            ),
        };
        error.with("provider_status", number)
    }

    /// The body of the HTTP response.
    pub(crate) fn body(&self) -> Value {
        let mut error = self.details.clone();
        error.insert("message".into(), self.message.clone().into());
        error.insert("type".into(), self.kind.into());
        error.insert("code".into(), self.code.into());
        error.insert("param".into(), Value::Null);
        error.insert("retryable".into(), self.retryable.into());
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
