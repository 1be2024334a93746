//! The models that the agents use: each is asked for the shortest of replies.

use std::collections::BTreeSet;
use std::time::Duration;

use mgx_llm::{DEFAULT_MODEL, DEMO_MODEL, LlmConfig, LlmError, Providers};

use super::Finding;
use crate::config::Config;
use crate::settings;

/// How long a model may take to begin its answer, at most.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many models of a provider's list are named.
const NAMED: usize = 8;

/// Asks every model that the default, or a role, names.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let llm = settings::llm_config(config);
    let mut timeouts = llm.timeouts;
    timeouts.first_byte = timeouts.first_byte.min(FIRST_BYTE_TIMEOUT);
    let providers = match Providers::new(&LlmConfig { timeouts, ..llm }) {
        Ok(providers) => providers,
        Err(error) => return vec![Finding::fail("model", error.to_string(), "correct [llm]")],
    };
    if providers.is_empty() {
        return vec![Finding::warn(
            "model",
            "no provider is set: the built-in demo model answers, which follows a script",
            "set OPENAI_API_KEY, and OPENAI_BASE_URL for another provider: docs/providers.md",
        )];
    }
    let roles = config.agents.roles.values().filter_map(|role| role.model.as_deref());
    let roles = roles.filter(|model| ![DEFAULT_MODEL, DEMO_MODEL].contains(model));
    let models: BTreeSet<&str> = roles.chain([config.agents.default_model.as_str()]).collect();
    let mut findings = Vec::new();
    for model in models {
        findings.push(match providers.probe(model).await {
            Ok(()) => Finding::ok("model", format!("{model} answers")),
            Err(error) => finding(&providers, model, error).await,
        });
    }
    findings
}

async fn finding(providers: &Providers, model: &str, error: LlmError) -> Finding {
    let hint = error.details.get("hint").and_then(|hint| hint.as_str());
    let mut remedy = hint.unwrap_or("see docs/providers.md").to_owned();
    if error.code == "model_not_found"
        && let Ok(list) = providers.list(model).await
        && !list.is_empty()
    {
        remedy = format!("{remedy}; it has {}", named(&list));
    }
    let what = format!("{model}: {}", error.message);
    if error.retryable { Finding::warn("model", what, remedy) } else { Finding::fail("model", what, remedy) }
}

/// The first models of a list, and how many more there are.
fn named(list: &[String]) -> String {
    let first = list.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
