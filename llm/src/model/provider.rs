//! The provider: sends requests to an OpenAI-compatible server, with the platform's key.
//!
//! Each request is sent once, and again only without a field that the server refuses: whether a failure is worth another try
//! is decided in one place, by the agent, which knows what was paid for.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url, redirect};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::config::Auth;
use crate::model::answer::{Interrupted, ModelAnswer};
use crate::model::error_kind::ErrorKind;
use crate::model::features::RefusedFields;
use crate::model::provider_error::ProviderError;
use crate::model::reply_stream;
use crate::model::request::ChatRequest;
use crate::model::retry_after::retry_after;
use crate::{LlmConfigError, LlmError, ProviderConfig, Timeouts};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a provider's error response is read, in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// How long the body of an error may take.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many fields of one request are left out before it is given up.
const MAX_REFUSED_FIELDS: usize = 6;

/// A provider and its key. None of the agent's headers is passed on.
pub(crate) struct Provider {
    name: String,
    client: Client,
    url: Url,
    config: ProviderConfig,
    timeouts: Timeouts,
    refused: RefusedFields,
}

impl Provider {
    pub(crate) fn new(
        name: &str,
        config: &ProviderConfig,
        timeouts: Timeouts,
    ) -> Result<Self, LlmConfigError> {
        // fails only if the process has installed one already
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("mgx/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &config.ca {
            let certificates = reqwest::Certificate::from_pem_bundle(ca)
                .map_err(|error| LlmConfigError::Client(error.to_string()))?;
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().map_err(|error| LlmConfigError::Client(error.to_string()))?;
        let url = endpoint(&config.base_url, "chat/completions")?;
        let provider = Self {
            name: name.to_owned(),
            client,
            url,
            config: config.clone(),
            timeouts,
            refused: RefusedFields::default(),
        };
        provider.headers(true)?;
        Ok(provider)
    }

    /// Sends the request. Resolves when something of a reply has arrived.
    ///
    /// # Errors
    /// The provider's error, classified; nothing of a reply has arrived.
    pub(crate) async fn send(&self, mut request: ChatRequest) -> Result<ModelAnswer, LlmError> {
        let model = request.model().to_owned();
        for (name, value) in &self.config.body {
            request.set_default(name, value);
        }
        if let Some(max_tokens) = self.config.max_tokens {
            request.set_default("max_tokens", &max_tokens.into());
        }
        if self.config.caches_prompts {
            request.cache_system_prompt();
        }
        // what was left out may be wanted back
        let whole = self.refused.knows(&model).then(|| request.clone());
        self.refused.apply(&model, &mut request);
        let mut left_out = 0;
        loop {
            let sent = timeout(self.timeouts.first_byte, self.send_once(&request)).await;
            let error = match sent.unwrap_or_else(|_| Err(LlmError::provider_timeout())) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let is_refusal = matches!(error.provider_status(), None | Some(400 | 422));
            let words = error.message.to_lowercase();
            if is_refusal && left_out < MAX_REFUSED_FIELDS && self.refused.learn(&model, &words, &mut request)
            {
                tracing::info!(
                    provider = self.name,
                    model,
                    reason = error.message,
                    "the provider refuses a field; it is left out from now on"
                );
                left_out += 1;
                continue;
            }
            if let Some(whole) = whole.as_ref().filter(|_| is_refusal && left_out < MAX_REFUSED_FIELDS)
                && self.refused.forget(&model, &words)
            {
                request = whole.clone();
                self.refused.apply(&model, &mut request);
                left_out += 1;
                continue;
            }
            tracing::warn!(
                provider = self.name,
                model,
                code = error.code,
                status = error.provider_status(),
                reason = error.message,
                "the model's provider has refused or failed a request"
            );
            return Err(error);
        }
    }

    async fn send_once(&self, request: &ChatRequest) -> Result<ModelAnswer, LlmError> {
        let headers = self.headers(request.is_stream()).expect("the same headers were made in new()");
        let body: Bytes = request.to_bytes();
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        let response = request.send().await.map_err(|error| self.connection_error(&error))?;
        if response.status() != StatusCode::OK {
            return Err(self.status_error(response).await);
        }
        let silence = self.timeouts.read;
        let bytes = response
            .bytes_stream()
            .map(|piece| piece.map_err(|_| Interrupted("the provider closed the connection")));
        let mut bytes = Box::pin(bytes);
        let first_byte = bytes.next().await;
        // between two reads; the first one is bounded by the caller
        let rest = futures_util::stream::unfold(Some(bytes), move |bytes| async move {
            let mut bytes = bytes?;
            match timeout(silence, bytes.next()).await {
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(bytes))),
                Ok(Some(Err(error))) => Some((Err(error), None)),
                Ok(None) => None,
                Err(_) => Some((Err(Interrupted("the provider sent nothing for too long")), None)),
            }
        });
        let bytes = futures_util::stream::iter(first_byte).chain(rest).boxed();
        let reply = reply_stream::begin(bytes, &self.secrets()).await?;
        let content_type = if reply.is_events { "text/event-stream" } else { "application/json" };
        Ok(ModelAnswer { content_type: HeaderValue::from_static(content_type), bytes: reply.bytes })
    }

    async fn status_error(&self, response: Response) -> LlmError {
        let status = response.status();
        let requested = retry_after(response.headers(), jiff::Timestamp::now());
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.map(|location| match Url::parse(location) {
            Ok(url) => shown(url),
            Err(_) => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
        });
        let mut body = Vec::new();
        let reading = async {
            let mut pieces = response.bytes_stream();
            while let Some(Ok(piece)) = pieces.next().await {
                body.extend_from_slice(&piece[..piece.len().min(MAX_ERROR_BODY - body.len())]);
                if body.len() >= MAX_ERROR_BODY {
                    break;
                }
            }
        };
        timeout(ERROR_BODY_TIMEOUT, reading).await.ok();
        let mut error = ProviderError::read(Some(status.as_u16()), &body, &self.secrets());
        error.retry_after = requested.or(error.retry_after);
        let place = match (error.kind, location) {
            (ErrorKind::BadUrl, Some(location)) => {
                format!("{} answered with a redirect to {location}", self.shown_url())
            }
            (ErrorKind::BadUrl, None) => format!("at {}", self.shown_url()),
            (
                ErrorKind::Unavailable
                | ErrorKind::RateLimited
                | ErrorKind::Quota
                | ErrorKind::RefusedKey
                | ErrorKind::Moderation
                | ErrorKind::Region
                | ErrorKind::ModelNotFound
                | ErrorKind::ContextTooLong
                | ErrorKind::Refused,
                _,
            ) => String::new(),
        };
        LlmError::provider(error, &place)
    }

    /// Names the failure by its cause. The error's own text contains the URL and so perhaps a password.
    fn connection_error(&self, error: &reqwest::Error) -> LlmError {
        let causes = causes(error);
        let says = |any: &[&str]| any.iter().any(|word| causes.to_lowercase().contains(word));
        let host = self.url.host_str().unwrap_or_default();
        if says(&[
            "dns error",
            "failed to lookup",
            "name or service not known",
            "no such host",
            "name resolution",
        ]) {
            LlmError::provider_dns(host)
        } else if says(&[
            "certificate",
            "tls",
            "handshake",
            "unknownissuer",
            "invalid peer",
            "corrupt message",
        ]) {
            LlmError::provider_tls(host, &last_cause(error))
        } else if error.is_timeout() {
            LlmError::provider_timeout()
        } else if says(&["connection refused"]) {
            LlmError::provider_unreachable(&format!("{} does not accept connections", self.shown_url()))
        } else if error.is_connect() {
            LlmError::provider_unreachable(&format!(
                "no connection to {}: {}",
                self.shown_url(),
                last_cause(error)
            ))
        } else {
            LlmError::provider_unreachable("it closed the connection before it answered")
        }
    }

    /// The address without user, password and query.
    fn shown_url(&self) -> String {
        shown(self.url.clone())
    }

    fn secrets(&self) -> Vec<&str> {
        self.config.secrets().collect()
    }

    /// The names of the models that the provider lists (`GET /models`).
    ///
    /// # Errors
    /// It cannot be reached, or has no such list.
    pub(crate) async fn models(&self) -> Result<Vec<String>, LlmError> {
        let url = endpoint(&self.config.base_url, "models").map_err(|_| LlmError::provider_timeout())?;
        let headers = self.headers(false).expect("the same headers were made in new()");
        let request = self.client.get(url).headers(headers).timeout(CONNECT_TIMEOUT);
        let response = request.send().await.map_err(|error| self.connection_error(&error))?;
        if response.status() != StatusCode::OK {
            return Err(self.status_error(response).await);
        }
        let list: serde_json::Value = response.json().await.map_err(|error| self.connection_error(&error))?;
        let models = list["data"].as_array().or_else(|| list["models"].as_array());
        let name = |model: &serde_json::Value| {
            ["id", "name"].iter().find_map(|key| model[*key].as_str()).map(str::to_owned)
        };
        Ok(models.into_iter().flatten().filter_map(name).collect())
    }

    /// The headers of a request to the provider.
    fn headers(&self, stream: bool) -> Result<HeaderMap, LlmConfigError> {
        let accept = if stream { "text/event-stream" } else { "application/json" };
        let mut headers = HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static(accept)),
            // compression delays the pieces of a stream; an answer that is compressed all the same is read
            (header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        ]);
        for (name, value) in &self.config.headers {
            let name =
                HeaderName::try_from(name.as_str()).map_err(|_| LlmConfigError::Header(name.clone()))?;
            let value = HeaderValue::try_from(value.as_str())
                .map_err(|_| LlmConfigError::Header(name.to_string()))?;
            headers.insert(name, value);
        }
        if let Some(key) = &self.config.api_key {
            let key = key.expose_secret();
            let (name, value) = match self.config.auth {
                Auth::Bearer => (header::AUTHORIZATION, format!("Bearer {key}")),
                Auth::ApiKey => (HeaderName::from_static("api-key"), key.to_owned()),
            };
            let mut value = HeaderValue::try_from(value).map_err(|_| LlmConfigError::ApiKey)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// The address of `resource` of the API at `base`, whose query is kept (Azure's `api-version`).
fn endpoint(base: &str, resource: &str) -> Result<Url, LlmConfigError> {
    let mut url = Url::parse(base).map_err(|_| LlmConfigError::BaseUrl)?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(LlmConfigError::BaseUrl);
    }
    let path = url.path().trim_end_matches('/').trim_end_matches("/chat/completions").to_owned();
    url.set_path(&format!("{path}/{resource}"));
    url.set_fragment(None);
    Ok(url)
}

/// An address without user, password, query and fragment, any of which may be a secret.
fn shown(mut url: Url) -> String {
    url.set_query(None);
    url.set_fragment(None);
    url.set_username("").ok();
    url.set_password(None).ok();
    url.to_string()
}

/// The causes of an error, from the outermost to the innermost.
fn causes(error: &reqwest::Error) -> String {
    let mut all = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        all.push(error.to_string());
        cause = error.source();
    }
    all.join(": ")
}

fn last_cause(error: &reqwest::Error) -> String {
    causes(error).rsplit(": ").next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_api_keeps_its_query() {
        let of = |base: &str| endpoint(base, "chat/completions").map(|url| url.to_string()).ok();
        assert_eq!(of("http://h/v1/").as_deref(), Some("http://h/v1/chat/completions"));
        assert_eq!(of("http://h/v1/chat/completions").as_deref(), Some("http://h/v1/chat/completions"));
        assert_eq!(
            of("https://h/openai/deployments/d?api-version=2024-10-21").as_deref(),
            Some("https://h/openai/deployments/d/chat/completions?api-version=2024-10-21")
        );
        assert_eq!((of("ftp://h/v1"), of("h/v1")), (None, None));
    }
}
