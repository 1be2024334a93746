//! The agent team: the built-in roles, changed by `[agents]` of the configuration.

use std::collections::BTreeMap;

use mgx_protocol::{RetryPolicy, Role, Team};
use serde::Deserialize;

/// `[agents]`: the roles that work on a prompt, and their models.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeamConfig {
    /// The model of every role that names none.
    pub default_model: String,
    /// How many model calls each role may make.
    pub max_turns: u32,
    /// How often QA may send the work back to the engineer.
    pub max_exchanges: u32,
    /// The context of the models, in tokens.
    pub context_tokens: u64,
    /// When a request to the model is repeated; from `[llm]`.
    #[serde(skip)]
    pub retry: RetryPolicy,
    /// Changes to single roles, by name.
    pub roles: BTreeMap<String, RoleConfig>,
}

/// The language of the built-in prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Language {
    /// The language of a request: Chinese if it holds Chinese characters.
    pub fn of(text: &str) -> Self {
        let is_chinese = |c: char| matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}');
        // Japanese has the same characters beside its own
        let is_japanese = |c: char| matches!(c, '\u{3040}'..='\u{30ff}');
        if text.chars().any(is_chinese) && !text.chars().any(is_japanese) { Self::Zh } else { Self::En }
    }
}

/// `[agents.roles.<name>]`: changes to one built-in role.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleConfig {
    /// Its model.
    pub model: Option<String>,
    /// Its sampling temperature, 0 to 2.
    pub temperature: Option<f32>,
    /// How much its model thinks: `reasoning_effort` of its requests, such as `low`.
    pub effort: Option<String>,
    /// Its system prompt.
    pub prompt: Option<String>,
    /// The tools it may use.
    pub tools: Option<Vec<String>>,
    /// Whether it takes part; absent: it does.
    pub enabled: Option<bool>,
}

/// Why the configured team is not valid. The operator corrects `[agents]`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TeamError {
    /// There is no such role.
    #[error("agents.roles.{name}: there is no such role; there are {known}")]
    UnknownRole {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// There is no such tool.
    #[error("agents.roles.{role}.tools: there is no tool {tool:?}; there are {known}")]
    UnknownTool {
        /// The role.
        role: String,
        /// The tool.
        tool: String,
        /// The tools that there are.
        known: String,
    },
    /// A value is out of range.
    #[error("agents.{key}: {rule}")]
    OutOfRange {
        /// The key below `agents`.
        key: String,
        /// What it must be.
        rule: &'static str,
    },
    /// No role is enabled to which the router could give work.
    #[error("agents.roles: every role but the router is disabled")]
    Empty,
}

impl Default for TeamConfig {
    fn default() -> Self {
        Self {
            default_model: "gpt-4.1".to_owned(),
            max_turns: 40,
            max_exchanges: 2,
            context_tokens: 128_000,
            retry: RetryPolicy::default(),
            roles: BTreeMap::new(),
        }
    }
}

impl TeamConfig {
    /// The checked team: the six roles in their order, with prompts in this language and with the operator's changes.
    ///
    /// # Errors
    /// [`TeamError`] names the wrong key.
    pub fn team(&self, language: Language) -> Result<Team, TeamError> {
        if let Some(name) = self.roles.keys().find(|name| !BUILT_IN.iter().any(|role| role.name == **name)) {
            return Err(TeamError::UnknownRole {
                name: name.clone(),
                known: list(BUILT_IN.map(|role| role.name)),
            });
        }
        if self.max_exchanges > MAX_EXCHANGES {
            return Err(TeamError::OutOfRange { key: "max_exchanges".to_owned(), rule: "0 to 20" });
        }
        if !CONTEXT_TOKENS.contains(&self.context_tokens) {
            return Err(TeamError::OutOfRange { key: "context_tokens".to_owned(), rule: "4000 to 10000000" });
        }
        if !(1..=MAX_TURNS).contains(&self.max_turns) {
            return Err(TeamError::OutOfRange { key: "max_turns".to_owned(), rule: "1 to 500" });
        }
        let unchanged = RoleConfig::default();
        let changed = BUILT_IN.iter().map(|role| (role, self.roles.get(role.name).unwrap_or(&unchanged)));
        let taking_part = changed.filter(|(_, config)| config.enabled.unwrap_or(true));
        let roles = taking_part
            .map(|(role, config)| self.role(role, config, language))
            .collect::<Result<Vec<_>, TeamError>>()?;
        if roles.iter().all(|role| role.name == ROUTER) {
            return Err(TeamError::Empty);
        }
        let team = Team {
            roles,
            max_turns: self.max_turns,
            max_exchanges: self.max_exchanges,
            context_tokens: self.context_tokens,
            retry: self.retry,
        };
        if serde_json::to_vec(&team).is_ok_and(|json| json.len() <= MAX_TEAM) {
            Ok(team)
        } else {
            let rule = "the roles with their prompts have at most 100 kB together";
            Err(TeamError::OutOfRange { key: "roles".to_owned(), rule })
        }
    }

    fn role(&self, built_in: &BuiltIn, config: &RoleConfig, language: Language) -> Result<Role, TeamError> {
        let wrong =
            |key: &str, rule| TeamError::OutOfRange { key: format!("roles.{}.{key}", built_in.name), rule };
        let (model, model_key) = match &config.model {
            Some(model) => (model, format!("roles.{}.model", built_in.name)),
            None => (&self.default_model, "default_model".to_owned()),
        };
        if model.is_empty() || model.len() > 200 || model.contains(char::is_control) {
            return Err(TeamError::OutOfRange { key: model_key, rule: "a model's name, 1 to 200 bytes" });
        }
        if config.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
            return Err(wrong("temperature", "0 to 2"));
        }
        if config.effort.as_ref().is_some_and(|effort| !is_word(effort)) {
            return Err(wrong("effort", "a word that the provider knows, such as low, medium or high"));
        }
        let prompt = config.prompt.as_deref().unwrap_or(built_in.prompts[language as usize]).trim();
        if prompt.is_empty() {
            return Err(wrong("prompt", "it is empty; leave it out for the built-in one"));
        }
        let tools: Vec<String> = match &config.tools {
            Some(tools) => tools.clone(),
            None => built_in.tools.iter().map(|tool| (*tool).to_owned()).collect(),
        };
        if let Some(tool) = tools.iter().find(|tool| !TOOLS.contains(&tool.as_str())) {
            let (role, tool) = (built_in.name.to_owned(), tool.clone());
            return Err(TeamError::UnknownTool { role, tool, known: list(TOOLS) });
        }
        let (name, temperature) = (built_in.name.to_owned(), config.temperature);
        let effort = config.effort.clone();
        Ok(Role { name, model: model.clone(), temperature, effort, prompt: prompt.to_owned(), tools })
    }
}

/// The most exchanges between QA and the engineer.
const MAX_EXCHANGES: u32 = 20;

/// The sizes of a context that the team can work in.
const CONTEXT_TOKENS: std::ops::RangeInclusive<u64> = 4_000..=10_000_000;

/// The most model calls that a role may be given.
const MAX_TURNS: u32 = 500;

/// Bytes of a team in JSON: the runner passes it on in one environment variable, which can hold 128 KiB (execve(2)).
const MAX_TEAM: usize = 100_000;

/// Every tool of the agent-runner.
const TOOLS: [&str; 10] = [
    "list_files",
    "find_files",
    "read_file",
    "search_files",
    "write_file",
    "edit_file",
    "rename_file",
    "delete_file",
    "ask_user",
    "send_back",
];

/// The role that only chooses which roles work. Without it, all roles work.
const ROUTER: &str = "router";

/// A role without the changes of the operator.
struct BuiltIn {
    name: &'static str,
    /// In English and in Chinese.
    prompts: [&'static str; 2],
    tools: &'static [&'static str],
}

const PLANNING_TOOLS: &[&str] =
    &["list_files", "find_files", "read_file", "search_files", "write_file", "edit_file", "ask_user"];
const ENGINEERING_TOOLS: &[&str] = &[
    "list_files",
    "find_files",
    "read_file",
    "search_files",
    "write_file",
    "edit_file",
    "rename_file",
    "delete_file",
    "ask_user",
];
const ALL_TOOLS: &[&str] = &TOOLS;

/// The prompts of a role, in every language.
macro_rules! prompts {
    ($name:literal) => {
        [
            include_str!(concat!("../../prompts/en/", $name, ".md")),
            include_str!(concat!("../../prompts/zh/", $name, ".md")),
        ]
    };
}

/// The roles, in the order in which they work.
const BUILT_IN: [BuiltIn; 6] = [
    BuiltIn { name: ROUTER, prompts: prompts!("router"), tools: &[] },
    BuiltIn { name: "product_manager", prompts: prompts!("product_manager"), tools: PLANNING_TOOLS },
    BuiltIn { name: "architect", prompts: prompts!("architect"), tools: PLANNING_TOOLS },
    BuiltIn { name: "project_manager", prompts: prompts!("project_manager"), tools: PLANNING_TOOLS },
    BuiltIn { name: "engineer", prompts: prompts!("engineer"), tools: ENGINEERING_TOOLS },
    BuiltIn { name: "qa", prompts: prompts!("qa"), tools: ALL_TOOLS },
];

/// Whether `text` is 1 to 20 letters.
fn is_word(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphabetic())
}

fn list<const N: usize>(names: [&str; N]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: serde_json::Value) -> TeamConfig {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn the_built_in_team() {
        let team = TeamConfig::default().team(Language::En).unwrap();
        assert!(
            serde_json::to_vec(&team).unwrap().len() < MAX_TEAM / 4,
            "there is room for the operator's prompts"
        );
        let roles: Vec<_> = team
            .roles
            .iter()
            .map(|role| format!("{} ({}): {}", role.name, role.model, role.tools.join(" ")))
            .collect();
        insta::assert_snapshot!(roles.join("\n"));
    }

    #[test]
    fn the_prompts_follow_the_language_of_the_request() {
        assert_eq!(Language::of("做一个面包店网站"), Language::Zh);
        assert_eq!((Language::of("a bakery"), Language::of("パン屋の店")), (Language::En, Language::En));
        let team = TeamConfig::default().team(Language::Zh).unwrap();
        assert!(team.roles.iter().all(|role| role.prompt.contains("团队")));
    }

    #[test]
    fn prompts_name_the_files_that_roles_pass_on() {
        let team = TeamConfig::default().team(Language::En).unwrap();
        for (role, file) in [
            ("product_manager", "docs/prd.md"),
            ("architect", "docs/design.md"),
            ("qa", "docs/test_report.md"),
        ] {
            let role = team.roles.iter().find(|other| other.name == role).unwrap();
            assert!(role.prompt.contains(&format!("Write `{file}`")), "{}", role.name);
            assert!(role.tools.iter().any(|tool| tool == "write_file"), "{}", role.name);
        }
    }

    #[test]
    fn an_operator_changes_one_role_and_disables_another() {
        let team = config(serde_json::json!({
            "default_model": "small",
            "roles": {
                "engineer": {"model": "large", "temperature": 0.2, "prompt": "Build.", "tools": ["write_file"]},
                "architect": {"enabled": false},
            },
        }))
        .team(Language::En)
        .unwrap();
        let names: Vec<_> = team.roles.iter().map(|role| role.name.as_str()).collect();
        assert_eq!(names, ["router", "product_manager", "project_manager", "engineer", "qa"]);
        let engineer = &team.roles[3];
        assert_eq!((engineer.model.as_str(), engineer.temperature), ("large", Some(0.2)));
        assert_eq!((engineer.prompt.as_str(), engineer.tools.len()), ("Build.", 1));
        assert_eq!(team.roles[0].model, "small");
    }

    #[test]
    fn mistakes_are_reported_with_their_key() {
        let off = serde_json::json!({"enabled": false});
        let mistakes = [
            serde_json::json!({"roles": {"enginer": {}}}),
            serde_json::json!({"roles": {"qa": {"tools": ["rm"]}}}),
            serde_json::json!({"roles": {"qa": {"temperature": 2.5}}}),
            serde_json::json!({"roles": {"qa": {"prompt": " "}}}),
            serde_json::json!({"roles": {"qa": {"prompt": "x".repeat(100_000)}}}),
            serde_json::json!({"default_model": ""}),
            serde_json::json!({"max_turns": 0}),
            serde_json::json!({"roles":
                {"product_manager": off, "architect": off, "project_manager": off, "engineer": off, "qa": off}}),
        ];
        let messages: Vec<_> =
            mistakes.map(|mistake| config(mistake).team(Language::En).unwrap_err().to_string()).to_vec();
        insta::assert_snapshot!(messages.join("\n"));
        assert!(serde_json::from_str::<TeamConfig>(r#"{"rolls": {}}"#).is_err());
        assert!(serde_json::from_str::<TeamConfig>(r#"{"roles": {"qa": {"modell": "x"}}}"#).is_err());
    }
}
