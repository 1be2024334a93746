//! The LLM proxy's settings.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::{LlmLimits, Price};

/// The name of the built-in demo model.
pub const DEMO_MODEL: &str = "mgx-demo";

/// The name by which a role asks for the model that the operator has configured as the default.
pub const DEFAULT_MODEL: &str = "default";

/// The LLM proxy's settings.
#[derive(Clone, Debug)]
pub struct LlmConfig {
    /// The provider that answers; `None`: the built-in demo model does.
    pub provider: Option<ProviderConfig>,
    /// Further providers by name: a model `NAME/MODEL` is asked for at the provider NAME.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// The model that [`DEFAULT_MODEL`] stands for. Must be set if there is a provider.
    pub default_model: String,
    /// The models that agents may ask for besides the default one; empty: any.
    pub models: Vec<String>,
    /// The limits of jobs, sessions and users.
    pub limits: LlmLimits,
    /// Prices by model. A model without a price costs nothing, and is refused if the cost of a session is limited.
    pub prices: BTreeMap<String, Price>,
    /// How long the provider may take.
    pub timeouts: Timeouts,
    /// The pause between two chunks of the demo model's stream.
    pub demo_pace: Duration,
}

/// An `OpenAI`-compatible provider.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Its base URL, up to and without `/chat/completions`; may have a query.
    pub base_url: String,
    /// Its key; `None` for a server that requires none.
    pub api_key: Option<SecretString>,
    /// How the key is sent.
    pub auth: Auth,
    /// Extra headers of every request.
    pub headers: BTreeMap<String, String>,
    /// Extra fields of every request that does not have them.
    pub body: serde_json::Map<String, serde_json::Value>,
    /// The most tokens of a reply; the provider's default if `None`.
    pub max_tokens: Option<u64>,
    /// Certificates of authorities that are trusted besides the usual ones, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Whether the system prompt is marked for caching (Anthropic's `cache_control`).
    pub caches_prompts: bool,
}

/// How a key is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer …` (RFC 6750).
    #[default]
    Bearer,
    /// `api-key: …` (Azure).
    ApiKey,
}

impl ProviderConfig {
    /// The base URL that is used if only a key is set.
    pub const OPENAI: &'static str = "https://api.openai.com/v1";

    /// A provider without anything special. Azure's addresses take the key in a header of their own.
    pub fn at(base_url: String, api_key: Option<SecretString>) -> Self {
        let is_azure = base_url.contains(".azure.com") || base_url.contains("api-version=");
        Self {
            auth: if is_azure { Auth::ApiKey } else { Auth::Bearer },
            base_url,
            api_key,
            headers: BTreeMap::new(),
            body: serde_json::Map::new(),
            max_tokens: None,
            ca: None,
            caches_prompts: false,
        }
    }

    /// The key, and the values of the headers that hold another one by their names.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let headers = self.headers.iter().filter(|(name, _)| is_secret_header(name));
        self.api_key.iter().map(ExposeSecret::expose_secret).chain(headers.map(|(_, value)| value.as_str()))
    }

    /// The provider that these settings name: none if neither is set, `OpenAI` if only the key is.
    pub fn of(base_url: Option<String>, api_key: Option<SecretString>) -> Option<Self> {
        match (base_url, api_key) {
            (None, None) => None,
            (base_url, api_key) => {
                Some(Self::at(base_url.unwrap_or_else(|| Self::OPENAI.to_owned()), api_key))
            }
        }
    }
}

/// Whether a header of this name holds a secret, such as `Authorization` or `X-Api-Key`.
pub fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "key", "token", "secret", "cookie", "password"].iter().any(|word| name.contains(word))
}

/// How long the provider may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the first byte of the answer.
    pub first_byte: Duration,
    /// Between two reads of an answer.
    pub read: Duration,
    /// For the whole answer.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // a local model is loaded first, and a long prompt is read slowly
            first_byte: Duration::from_mins(10),
            read: Duration::from_mins(5),
            answer: Duration::from_mins(30),
        }
    }
}

/// Why the LLM proxy cannot be set up. The operator must change the configuration.
#[derive(Debug, thiserror::Error)]
pub enum LlmConfigError {
    /// The base URL is no http or https URL.
    #[error("the provider's base URL must be an http or https URL, such as {}", ProviderConfig::OPENAI)]
    BaseUrl,
    /// The key cannot be sent in a header.
    #[error("the provider's key holds characters that cannot be sent in a header")]
    ApiKey,
    /// There is a provider, but no default model.
    #[error("a provider is configured, but no default model")]
    NoModel,
    /// An extra header cannot be sent.
    #[error("the header {0:?} has a name or a value that cannot be sent")]
    Header(String),
    /// The HTTP client cannot be made.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
}

impl LlmConfig {
    /// Refuses settings with which every request would fail.
    pub(crate) fn check(&self) -> Result<(), LlmConfigError> {
        if self.provider.is_some() && self.default_model.trim().is_empty() {
            return Err(LlmConfigError::NoModel);
        }
        Ok(())
    }
}

impl Default for LlmConfig {
    /// The demo model, slow enough to be watched, without limits.
    fn default() -> Self {
        Self {
            provider: None,
            default_model: String::new(),
            models: Vec::new(),
            limits: LlmLimits::default(),
            prices: BTreeMap::new(),
            providers: BTreeMap::new(),
            timeouts: Timeouts::default(),
            demo_pace: Duration::from_millis(15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_alone_means_openai_and_nothing_means_the_demo() {
        assert!(ProviderConfig::of(None, None).is_none());
        let keyed = ProviderConfig::of(None, Some("sk-secret".to_owned().into())).unwrap();
        assert_eq!(keyed.base_url, ProviderConfig::OPENAI);
        assert!(!format!("{keyed:?}").contains("sk-secret"));
        let local = ProviderConfig::of(Some("http://127.0.0.1:8000/v1".into()), None).unwrap();
        assert_eq!((local.base_url.as_str(), local.api_key.is_none()), ("http://127.0.0.1:8000/v1", true));
    }
}
