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
    /// How much memory the container may use, in bytes; 0: not known. The runner keeps what the platform has not
    /// acknowledged within a share of it.
    #[serde(default)]
    pub memory_bytes: u64,
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
            .field("memory_bytes", &self.memory_bytes)
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
    /// How often QA may send the work back to the engineer.
    #[serde(default)]
    pub max_exchanges: u32,
    /// The context of the models, in tokens, if the provider does not name it; 0: unknown.
    #[serde(default)]
    pub context_tokens: u64,
    /// When a request to the model is repeated.
    #[serde(default)]
    pub retry: RetryPolicy,
}

/// When a request to the model is repeated, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// The first pause; each further one is twice as long.
    pub first_pause_ms: u64,
    /// The longest pause, unless the provider asks for a longer one.
    pub max_pause_ms: u64,
    /// How long all pauses of one request may hold the job's slot. A job that has to wait longer gives it back.
    pub hold_ms: u64,
    /// How long a job waits for a provider that is away, without a slot too.
    pub max_outage_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { first_pause_ms: 500, max_pause_ms: 30_000, hold_ms: 60_000, max_outage_ms: 3_600_000 }
    }
}

/// One role of a team.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its name, which is `agent_name` of its events: `engineer`.
    pub name: String,
    /// The model that it uses.
    pub model: String,
    /// The sampling temperature; the provider's default if absent.
    pub temperature: Option<f32>,
    /// How much the model is to think: `reasoning_effort` of the request; the provider's default if absent.
    #[serde(default)]
    pub effort: Option<String>,
    /// Its system prompt.
    pub prompt: String,
    /// The tools it may use, by name.
    pub tools: Vec<String>,
}
