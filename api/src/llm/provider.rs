//! The provider: asks an `OpenAI`-compatible server with the platform's key, again while nothing has been passed on.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::meter::{AnswerBytes, BrokenOff};
use super::request::ChatRequest;
use super::{LlmConfigError, LlmError, ProviderConfig, RetryConfig};

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How much of a provider's error is read.
const MAX_ERROR: usize = 64 * 1024;

/// How much of a provider's error message is passed on, in characters.
const MAX_SAID: usize = 500;

/// An answer that has begun.
pub(super) struct Answer {
    pub(super) content_type: HeaderValue,
    pub(super) bytes: AnswerBytes,
}

/// A provider and its key. Of the agent's headers none gets here: ours are written anew.
pub(super) struct Provider {
    client: Client,
    url: Url,
    key: Option<SecretString>,
    retry: RetryConfig,
}

impl Provider {
    pub(super) fn new(config: &ProviderConfig, retry: RetryConfig) -> Result<Self, LlmConfigError> {
        // Fails only if the process has one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_DEADLINE)
            .read_timeout(retry.silence)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("mgx/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| LlmConfigError::Client(error.to_string()))?;
        let provider = Self { client, url: endpoint(&config.base_url)?, key: config.api_key.clone(), retry };
        provider.headers(true)?;
        Ok(provider)
    }

    /// Sends the request, and resolves with the first byte of the answer.
    pub(super) async fn send(&self, request: &ChatRequest) -> Result<Answer, LlmError> {
        let body = request.to_bytes();
        let headers = self.headers(request.is_stream()).expect("the same headers were made in new()");
        let longest = self.retry.longest_pause;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.retry.first_pause.min(longest))
            .with_max_delay(longest)
            .with_max_times(self.retry.tries - 1)
            .with_jitter();
        let asked = (|| self.ask(&headers, &body))
            .retry(backoff)
            .when(|error: &LlmError| error.retryable)
            .adjust(|error, pause| pause.map(|pause| error.retry_after.unwrap_or(pause).min(longest)))
            .notify(|error, pause| tracing::info!(code = error.code, ?pause, "asking the provider again"));
        tokio::time::timeout(self.retry.first_byte, asked).await.unwrap_or_else(|_| Err(LlmError::timeout()))
    }

    async fn ask(&self, headers: &HeaderMap, body: &Bytes) -> Result<Answer, LlmError> {
        let request = self.client.post(self.url.clone()).headers(headers.clone()).body(body.clone());
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let fallback = HeaderValue::from_static("application/json");
        let content_type = response.headers().get(header::CONTENT_TYPE).cloned().unwrap_or(fallback);
        let mut rest = response.bytes_stream().boxed();
        let first = match rest.next().await {
            Some(Ok(first)) => first,
            Some(Err(error)) => return Err(unreachable(&error)),
            None => return Err(LlmError::unreachable("it sent an empty answer")),
        };
        let rest = rest.map(|piece| {
            piece.map_err(|error| {
                BrokenOff(if error.is_timeout() {
                    "the provider fell silent"
                } else {
                    "the provider hung up"
                })
            })
        });
        Ok(Answer { content_type, bytes: stream::iter([Ok(first)]).chain(rest).boxed() })
    }

    async fn refusal(&self, response: Response) -> LlmError {
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(seconds);
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(Ok(piece)) = pieces.next().await {
            body.extend_from_slice(&piece[..piece.len().min(MAX_ERROR - body.len())]);
            if body.len() >= MAX_ERROR {
                break;
            }
        }
        LlmError::provider(status, self.said(&body).as_deref(), retry_after)
    }

    /// The message in a provider's error, free of the key.
    fn said(&self, body: &[u8]) -> Option<String> {
        let error: Value = serde_json::from_slice(body).ok()?;
        let said = [&error["error"]["message"], &error["message"], &error["error"], &error["detail"]]
            .into_iter()
            .find_map(Value::as_str)?;
        let said = match &self.key {
            Some(key) => said.replace(key.expose_secret(), "[redacted]"),
            None => said.to_owned(),
        };
        Some(said.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect())
    }

    /// Every header that a provider gets.
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

/// Says what failed in our words: the error's own text holds the URL, which may hold a password.
fn unreachable(error: &reqwest::Error) -> LlmError {
    if error.is_timeout() {
        LlmError::timeout()
    } else if error.is_connect() {
        LlmError::unreachable("it does not accept connections")
    } else {
        LlmError::unreachable("it hung up before it answered")
    }
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3). Its other form, a date, is rare here and counts as absent.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
