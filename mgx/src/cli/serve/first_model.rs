//! The model of a first start: the operator has named a provider and no model, and the provider does not have the built-in
//! default.

use std::io::{self, BufRead, IsTerminal};

use mgx_llm::Providers;

use crate::cli::out::{self, Failure};
use crate::config::{self, Loaded};
use crate::settings;

/// The setting that names the model.
const KEY: &str = "agents.default_model";

/// How many models of a provider's list are shown.
const SHOWN: usize = 30;

/// Asks which of the provider's models is to be used, and puts it into the configuration; `None` if there is nothing to ask. A
/// provider that has no list, or cannot be reached, is taken as it is: jobs say then what is wrong.
///
/// # Errors
/// Standard input or output is no terminal: the text has the provider's list.
pub(super) async fn choose(loaded: &mut Loaded) -> Result<Option<String>, Failure> {
    let is_named = loaded.settings().iter().any(|setting| setting.key == KEY && setting.source != "default");
    let model = loaded.config.agents.default_model.clone();
    let Ok(providers) = Providers::new(&settings::llm_config(&loaded.config)) else { return Ok(None) };
    if is_named || providers.is_empty() {
        return Ok(None);
    }
    let Ok(list) = providers.list(&model).await else { return Ok(None) };
    if list.is_empty() || list.contains(&model) {
        return Ok(None);
    }
    let shown: Vec<String> =
        list.iter().take(SHOWN).zip(1..).map(|(name, number)| format!("{number:>3}  {name}")).collect();
    let shown = out::harmless(&shown.join("\n"));
    if !(io::stdin().is_terminal() && out::is_terminal()) {
        let text = format!(
            "no model is named: set {KEY} in mgx.toml, or MGX_AGENTS__DEFAULT_MODEL, to one that the provider has:\n{shown}"
        );
        return Err(Failure::with(config::EXIT, text));
    }
    out::note(format_args!("The provider has these models:\n{shown}\nWhich one? Its number or its name:"));
    let line = io::stdin().lock().lines().next().and_then(Result::ok).unwrap_or_default();
    let Some(name) = chosen(&line, &list) else {
        return Err(Failure::with(config::EXIT, format!("the provider has no model {:?}", line.trim())));
    };
    out::note(format_args!("To keep it: {KEY} = {name:?} in mgx.toml"));
    name.clone_into(&mut loaded.config.agents.default_model);
    Ok(Some(name.to_owned()))
}

/// The model that an answer means.
fn chosen<'a>(line: &str, list: &'a [String]) -> Option<&'a str> {
    let line = line.trim();
    let by_number = || list.get(line.parse::<usize>().ok()?.checked_sub(1)?);
    list.iter().find(|name| *name == line).or_else(by_number).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_chosen_by_number_or_name() {
        let list = ["qwen3:8b".to_owned(), "2".to_owned(), "llama".to_owned()];
        let of = |line| chosen(line, &list);
        assert_eq!((of("1\n"), of(" llama "), of("2")), (Some("qwen3:8b"), Some("llama"), Some("2")));
        assert_eq!((of("0"), of("4"), of(""), of("gpt")), (None, None, None, None));
    }
}
