//! The provider: sends requests to an `OpenAI`-compatible server, with the platform's key and with retries.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::model::answer::{Interrupted, ModelAnswer};
use crate::model::request::ChatRequest;
use crate::{LlmConfigError, LlmError, ProviderConfig, RetryConfig, Timeouts};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a provider's error response is read, in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// How much of a provider's error message is passed on, in characters.
const MAX_ERROR_MESSAGE: usize = 500;

/// A provider and its key. None of the agent's headers is passed on.
pub(crate) struct Provider {
    client: Client,
    url: Url,
    key: Option<SecretString>,
    retry: RetryConfig,
    timeouts: Timeouts,
}

impl Provider {
    pub(crate) fn new(
        config: &ProviderConfig,
        retry: RetryConfig,
        timeouts: Timeouts,
    ) -> Result<Self, LlmConfigError> {
        // fails only if the process has installed one already
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(timeouts.read)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("mgx/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| LlmConfigError::Client(error.to_string()))?;
        let url = endpoint(&config.base_url)?;
        let provider = Self { client, url, key: config.api_key.clone(), retry, timeouts };
        provider.headers(true)?;
        Ok(provider)
    }

    /// Sends the request, again as long as no byte of an answer has arrived and the error may pass. Resolves with the
    /// first byte of the answer.
    pub(crate) async fn send(&self, request: &ChatRequest) -> Result<ModelAnswer, LlmError> {
        let body = request.to_bytes();
        let headers = self.headers(request.is_stream()).expect("the same headers were made in new()");
        let RetryConfig { max_tries, min_backoff, max_backoff } = self.retry;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(min_backoff.min(max_backoff))
            .with_max_delay(max_backoff)
            .with_max_times(max_tries - 1)
            .with_jitter();
        let answer = (|| self.send_once(&headers, &body))
            .retry(backoff)
            .when(|error: &LlmError| error.retryable)
            .adjust(|error, pause| pause.map(|pause| error.retry_after.unwrap_or(pause).min(max_backoff)))
            .notify(|error, pause| {
                tracing::info!(code = error.code, ?pause, "sending the request to the provider again");
            });
        let first_byte = tokio::time::timeout(self.timeouts.first_byte, answer).await;
        first_byte.unwrap_or_else(|_| Err(LlmError::provider_timeout()))
    }

    async fn send_once(&self, headers: &HeaderMap, body: &Bytes) -> Result<ModelAnswer, LlmError> {
        let request = self.client.post(self.url.clone()).headers(headers.clone()).body(body.clone());
        let response = request.send().await.map_err(|error| connection_error(&error))?;
        if response.status() != StatusCode::OK {
            return Err(self.status_error(response).await);
        }
        let fallback = HeaderValue::from_static("application/json");
        let content_type = response.headers().get(header::CONTENT_TYPE).cloned().unwrap_or(fallback);
        let mut rest = response.bytes_stream().boxed();
        let first = match rest.next().await {
            Some(Ok(first)) => first,
            Some(Err(error)) => return Err(connection_error(&error)),
            None => return Err(LlmError::provider_unreachable("it sent an empty answer")),
        };
        let rest = rest.map(|piece| {
            piece.map_err(|error| {
                Interrupted(if error.is_timeout() {
                    "the provider sent nothing for too long"
                } else {
                    "the provider closed the connection"
                })
            })
        });
        Ok(ModelAnswer { content_type, bytes: stream::iter([Ok(first)]).chain(rest).boxed() })
    }

    async fn status_error(&self, response: Response) -> LlmError {
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(retry_after_seconds);
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(Ok(piece)) = pieces.next().await {
            body.extend_from_slice(&piece[..piece.len().min(MAX_ERROR_BODY - body.len())]);
            if body.len() >= MAX_ERROR_BODY {
                break;
            }
        }
        LlmError::provider_status(status, self.error_message(&body).as_deref(), retry_after)
    }

    /// The message in the body of a provider's error, without the key.
    fn error_message(&self, body: &[u8]) -> Option<String> {
        let error: Value = serde_json::from_slice(body).ok()?;
        let message = [&error["error"]["message"], &error["message"], &error["error"], &error["detail"]]
            .into_iter()
            .find_map(Value::as_str)?;
        let message = match &self.key {
            Some(key) => message.replace(key.expose_secret(), "[redacted]"),
            None => message.to_owned(),
        };
        Some(message.chars().filter(|c| !c.is_control()).take(MAX_ERROR_MESSAGE).collect())
    }

    /// The headers of a request to the provider.
    fn headers(&self, stream: bool) -> Result<HeaderMap, LlmConfigError> {
        let accept = if stream { "text/event-stream" } else { "application/json" };
        let mut headers = HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static(accept)),
        ]);
        if let Some(key) = &self.key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
                .map_err(|_| LlmConfigError::ApiKey)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

fn endpoint(base: &str) -> Result<Url, LlmConfigError> {
    let url = Url::parse(&format!("{}/chat/completions", base.trim_end_matches('/')))
        .map_err(|_| LlmConfigError::BaseUrl)?;
    if matches!(url.scheme(), "http" | "https") && url.query().is_none() {
        Ok(url)
    } else {
        Err(LlmConfigError::BaseUrl)
    }
}

/// Names the failure without the error's own text, which contains the URL and so perhaps a password.
fn connection_error(error: &reqwest::Error) -> LlmError {
    if error.is_timeout() {
        LlmError::provider_timeout()
    } else if error.is_connect() {
        LlmError::provider_unreachable("it does not accept connections")
    } else {
        LlmError::provider_unreachable("it closed the connection before it answered")
    }
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3). Its other form, a date, is not read.
fn retry_after_seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
