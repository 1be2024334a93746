//! What an operator can set about the LLM proxy.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use super::price::Price;

/// The LLM proxy's settings.
#[derive(Clone, Debug)]
pub struct LlmConfig {
    /// Who answers; `None`: the built-in demo model.
    pub provider: Option<ProviderConfig>,
    /// What a role's model `default` stands for. Must be set if there is a provider.
    pub default_model: String,
    /// The models that agents may ask for besides the default one; empty: any.
    pub models: Vec<String>,
    /// What a session, and an attempt, may use.
    pub limits: LlmLimits,
    /// What the models cost. One that is not here costs nothing, and may not be asked if a session's cost is limited.
    pub prices: BTreeMap<String, Price>,
    /// How long and how often a provider is asked.
    pub retry: RetryConfig,
    /// The pause between two chunks of the demo model's stream.
    pub demo_pace: Duration,
}

/// An `OpenAI`-compatible provider.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Its base URL, up to and without `/chat/completions`.
    pub base_url: String,
    /// Its key; `None` for a server of one's own that wants none.
    pub api_key: Option<SecretString>,
}

impl ProviderConfig {
    /// Where a key alone is for.
    pub const OPENAI: &'static str = "https://api.openai.com/v1";

    /// The provider that these settings name: none if neither is set, `OpenAI` itself for a key alone.
    pub fn of(base_url: Option<String>, api_key: Option<SecretString>) -> Option<Self> {
        match (base_url, api_key) {
            (None, None) => None,
            (base_url, api_key) => {
                Some(Self { base_url: base_url.unwrap_or_else(|| Self::OPENAI.to_owned()), api_key })
            }
        }
    }
}

/// What may be used; 0 means without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LlmLimits {
    /// Requests of one session that reached a model.
    pub max_requests: u64,
    /// Tokens of one session, sent and received.
    pub max_tokens: u64,
    /// What they may cost, in millionths of the operator's unit.
    pub max_cost_micros: u64,
    /// Requests that one attempt may send in a minute.
    pub requests_per_minute: u32,
}

/// How long and how often a provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Tries in all, at least 1.
    pub tries: usize,
    /// The pause after the first try; it doubles with each.
    pub first_pause: Duration,
    /// The longest pause, also if the provider's `Retry-After` asks for more.
    pub longest_pause: Duration,
    /// The time for all tries together, up to the first byte of the answer.
    pub first_byte: Duration,
    /// The longest silence within an answer.
    pub silence: Duration,
    /// The time for the whole answer.
    pub whole: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            tries: 3,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
            // Before the agent's own patience ends, which is 120 s.
            first_byte: Duration::from_secs(100),
            silence: Duration::from_secs(90),
            whole: Duration::from_mins(10),
        }
    }
}

/// Why the LLM proxy cannot be set up. The operator must change the configuration.
#[derive(Debug, thiserror::Error)]
pub enum LlmConfigError {
    /// The base URL is none.
    #[error("the provider's base URL must be an http or https URL, such as {}", ProviderConfig::OPENAI)]
    BaseUrl,
    /// The key cannot be sent in a header.
    #[error("the provider's key holds characters that cannot be sent")]
    ApiKey,
    /// A provider, but no model.
    #[error("a provider is configured, but no default model")]
    NoModel,
    /// Not one try.
    #[error("the number of tries must be at least 1")]
    NoTries,
    /// The HTTP client cannot be made.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
}

impl LlmConfig {
    /// Finds what would fail at every request.
    pub(super) fn check(&self) -> Result<(), LlmConfigError> {
        if self.provider.is_some() && self.default_model.trim().is_empty() {
            return Err(LlmConfigError::NoModel);
        }
        if self.retry.tries == 0 {
            return Err(LlmConfigError::NoTries);
        }
        Ok(())
    }
}

impl Default for LlmConfig {
    /// The demo model at a pace that people can watch, without limits.
    fn default() -> Self {
        Self {
            provider: None,
            default_model: String::new(),
            models: Vec::new(),
            limits: LlmLimits::default(),
            prices: BTreeMap::new(),
            retry: RetryConfig::default(),
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
