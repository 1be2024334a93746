//! The agent team as the operator configures it, and as a job gets it.

use std::collections::BTreeMap;

use mgx_agent_runner::protocol::Team;
use serde::Deserialize;

/// `[agents]`: who works on a prompt, and with which model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeamConfig {
    /// The model of every role that names none.
    pub default_model: String,
    /// How many model calls one role may make.
    pub max_turns: u32,
    /// Changes to single roles, by name.
    pub roles: BTreeMap<String, RoleConfig>,
}

/// `[agents.roles.<name>]`: what is different about one role.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleConfig {
    /// Its model.
    pub model: Option<String>,
    /// Its sampling temperature, 0 to 2.
    pub temperature: Option<f32>,
    /// Its system prompt.
    pub prompt: Option<String>,
    /// The tools it may use.
    pub tools: Option<Vec<String>>,
    /// Whether it takes part; absent: it does.
    pub enabled: Option<bool>,
}

/// Why a team cannot work like this. The operator corrects `[agents]`.
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
    /// Nobody is left.
    #[error("agents.roles: every role is disabled")]
    Empty,
}

impl Default for TeamConfig {
    fn default() -> Self {
        Self { default_model: "gpt-4.1".to_owned(), max_turns: 40, roles: BTreeMap::new() }
    }
}

impl TeamConfig {
    /// The team, checked: the five roles in their order, with the operator's changes.
    ///
    /// # Errors
    /// [`TeamError`] says which key is wrong.
    pub fn team(&self) -> Result<Team, TeamError> {
        unimplemented!()
    }
}
