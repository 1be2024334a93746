//! The invocation: everything of a job that its container learns only when the job starts (late binding).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Attempt, Conversation, JobId, SessionId, WorkspaceId};

/// One attempt at a job, as its container is told of it. Late binding lets a warm container serve any job.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// The job.
    pub job: JobId,
    /// The attempt, within which events are numbered.
    pub attempt: Attempt,
    /// The session.
    pub session: SessionId,
    /// The workspace that is mounted.
    pub workspace: WorkspaceId,
    /// What to run, program first. Empty: the agent team, described by `team`.
    pub argv: Vec<String>,
    /// The whole environment of the command. Values may be secret and are not part of `Debug`.
    pub env: BTreeMap<String, String>,
    /// The working directory: absolute, inside the workspace.
    pub workdir: String,
    /// How long the command may run, in milliseconds; the runner enforces it.
    pub timeout_ms: u64,
    /// The time between SIGTERM and SIGKILL at the deadline, in milliseconds.
    pub grace_ms: u64,
    /// The team to run when `argv` is empty.
    pub team: Team,
    /// What was said in the session before; for the team only.
    #[serde(default)]
    pub conversation: Conversation,
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("job", &self.job)
            .field("attempt", &self.attempt)
            .field("session", &self.session)
            .field("argv", &self.argv)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("timeout_ms", &self.timeout_ms)
            .finish_non_exhaustive()
    }
}

/// An agent team: roles that work one after the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Team {
    /// The roles, in the order in which they work.
    pub roles: Vec<Role>,
    /// How many model calls one role may make.
    pub max_turns: u32,
}

/// One role of a team.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name, which is `agent_name` of its events: `engineer`.
    pub name: String,
    /// The model that it uses.
    pub model: String,
    /// The sampling temperature; the provider's default if absent.
    pub temperature: Option<f32>,
    /// Its system prompt.
    pub prompt: String,
    /// The tools it may use, by name.
    pub tools: Vec<String>,
}
