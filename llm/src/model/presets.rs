//! Providers that can be named instead of their address.

use crate::ProviderConfig;
use crate::config::Auth;

/// What is known of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name in the configuration.
    pub name: &'static str,
    /// The base URL; empty if each customer has another one.
    pub base_url: &'static str,
    auth: Auth,
    caches_prompts: bool,
}

const fn bearer(name: &'static str, base_url: &'static str) -> Preset {
    Preset { name, base_url, auth: Auth::Bearer, caches_prompts: false }
}

/// Every preset. What else differs between these providers is found out while they are used: fields that they refuse are
/// left out, and their replies are read in every dialect.
pub const PRESETS: [Preset; 12] = [
    bearer("openai", "https://api.openai.com/v1"),
    Preset { name: "azure", base_url: "", auth: Auth::ApiKey, caches_prompts: false },
    bearer("dashscope", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    bearer("deepseek", "https://api.deepseek.com/v1"),
    bearer("moonshot", "https://api.moonshot.cn/v1"),
    bearer("openrouter", "https://openrouter.ai/api/v1"),
    bearer("gemini", "https://generativelanguage.googleapis.com/v1beta/openai"),
    Preset {
        name: "anthropic",
        base_url: "https://api.anthropic.com/v1",
        auth: Auth::Bearer,
        caches_prompts: true,
    },
    bearer("ollama", "http://127.0.0.1:11434/v1"),
    bearer("vllm", "http://127.0.0.1:8000/v1"),
    bearer("lmstudio", "http://127.0.0.1:1234/v1"),
    bearer("llamacpp", "http://127.0.0.1:8080/v1"),
];

impl Preset {
    /// The preset called `name`.
    pub fn named(name: &str) -> Option<Self> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// Sets what the preset knows of the provider.
    pub fn apply(self, config: &mut ProviderConfig) {
        if config.base_url.is_empty() {
            self.base_url.clone_into(&mut config.base_url);
        }
        config.auth = self.auth;
        config.caches_prompts = self.caches_prompts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_fills_in_what_is_not_given() {
        let mut config = ProviderConfig::at(String::new(), None);
        Preset::named("anthropic").unwrap().apply(&mut config);
        assert_eq!((config.base_url.as_str(), config.caches_prompts), ("https://api.anthropic.com/v1", true));
        let mut own = ProviderConfig::at("http://host:1/v1".to_owned(), None);
        Preset::named("ollama").unwrap().apply(&mut own);
        assert_eq!(own.base_url, "http://host:1/v1");
        assert!(Preset::named("none").is_none());
    }
}
