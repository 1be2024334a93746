//! What a container is told when its job begins: late binding, so that a container made beforehand can serve any job.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Attempt, JobId, SessionId, WorkspaceId};

/// Everything about one attempt at a job that its container learns only now: late binding.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// The job.
    pub job: JobId,
    /// The attempt; events are numbered within it.
    pub attempt: Attempt,
    /// The session.
    pub session: SessionId,
    /// The workspace that is mounted.
    pub workspace: WorkspaceId,
    /// What to run, program first. Empty: the agent team, described by `team`.
    pub argv: Vec<String>,
    /// The whole environment of the command; values may be secret and are never printed.
    pub env: BTreeMap<String, String>,
    /// The working directory: absolute, inside the workspace.
    pub workdir: String,
    /// Milliseconds the command may still run; the runner enforces them by itself.
    pub timeout_ms: u64,
    /// Milliseconds between SIGTERM and SIGKILL at the deadline.
    pub grace_ms: u64,
    /// The team to run when `argv` is empty.
    pub team: Team,
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

/// An agent team: roles that work one after the other, in this order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Team {
    /// The roles, first to last.
    pub roles: Vec<Role>,
    /// How many model calls one role may make.
    pub max_turns: u32,
}

/// One member of the team.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Machine name, as in the events' `agent_name`: `engineer`.
    pub name: String,
    /// The model it speaks to.
    pub model: String,
    /// Sampling temperature; the provider's default if absent.
    pub temperature: Option<f32>,
    /// Its system prompt.
    pub prompt: String,
    /// The tools it may use, by name.
    pub tools: Vec<String>,
}
