//! The providers that are configured, and which of them has a model.

use std::collections::BTreeMap;

use crate::config::DEFAULT_MODEL;
use crate::model::provider::Provider;
use crate::model::request::ChatRequest;
use crate::{LlmConfig, LlmConfigError, LlmError};

/// The providers that are configured.
pub struct Providers {
    default: Option<Provider>,
    named: BTreeMap<String, Provider>,
}

impl Providers {
    /// Sets up the providers of `config`; connects to none.
    ///
    /// # Errors
    /// [`LlmConfigError`]: the operator must change the configuration.
    pub fn new(config: &LlmConfig) -> Result<Self, LlmConfigError> {
        config.check()?;
        let provider = |name: &str, it| Provider::new(name, it, config.timeouts);
        let default = config.provider.as_ref().map(|it| provider("default", it)).transpose()?;
        let named = config.providers.iter().map(|(name, it)| Ok((name.clone(), provider(name, it)?)));
        Ok(Self { default, named: named.collect::<Result<_, LlmConfigError>>()? })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.default.is_none() && self.named.is_empty()
    }

    /// The provider of a model, and the model's name there: that of the provider before the first `/` if there is one of this
    /// name, otherwise the default one.
    pub(crate) fn of<'a>(&self, model: &'a str) -> Option<(&Provider, &'a str)> {
        let named = model.split_once('/').and_then(|(name, rest)| Some((self.named.get(name)?, rest)));
        named.or_else(|| Some((self.default.as_ref()?, model)))
    }

    /// Asks `model` for the shortest of replies.
    ///
    /// # Errors
    /// What is wrong: the address, the key, the model, the account.
    pub async fn probe(&self, model: &str) -> Result<(), LlmError> {
        let (provider, name) = self.of(model).ok_or_else(|| LlmError::model_not_found(model))?;
        provider.send(ChatRequest::probe(name)).await.map(drop)
    }

    /// The names of the models that the provider of `model` lists, as a role asks for them.
    ///
    /// # Errors
    /// The provider cannot be reached, or has no such list.
    pub async fn list(&self, model: &str) -> Result<Vec<String>, LlmError> {
        let (provider, name) = self.of(model).ok_or_else(|| LlmError::model_not_found(DEFAULT_MODEL))?;
        let prefix = model.strip_suffix(name).unwrap_or_default();
        let models = provider.models().await?;
        Ok(models.into_iter().map(|name| format!("{prefix}{name}")).collect())
    }
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").field("named", &self.named.keys()).finish_non_exhaustive()
    }
}
