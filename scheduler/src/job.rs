//! A job: what was asked for, and how far it has come.

pub(crate) mod blueprint;
pub(crate) mod live_jobs;
pub(crate) mod options;
pub(crate) mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use mgx_protocol::{Attempt, JobId, SessionId};
use mgx_runtimes::Limits;
use serde::{Deserialize, Serialize};

use crate::time::clock::Uptime;
use options::SchedulingOptions;
use state::State;

/// A job: what was asked for, and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The user who asked for it; slots are shared fairly between users.
    pub user: String,
    /// What was asked for.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: State,
    /// The attempt that is under way, or comes next.
    pub attempt: Attempt,
    /// How many of its attempts were given their invocation.
    #[serde(default)]
    pub runs: u32,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// When its command began to run.
    pub started_at: Option<Timestamp>,
    /// How long the machine had been up by then.
    #[serde(default)]
    pub started_up: Option<Uptime>,
    /// When the command must have ended.
    pub deadline_at: Option<Timestamp>,
    /// When it reached its final state.
    pub ended_at: Option<Timestamp>,
    /// How its command ended.
    pub exit: Option<ExitStatus>,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// How it has waited for its model's provider, if it has.
    #[serde(default)]
    pub provider_wait: Option<ProviderWait>,
    /// How long the commands of its earlier attempts ran that it goes on from, in milliseconds. They count against
    /// `timeout_s`; a wait between them does not.
    #[serde(default)]
    pub ran_ms: u64,
    /// Where the container of its present attempt was made: the runtime and the address of its engine, such as
    /// `pool:docker at unix:///var/run/docker.sock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

/// A job's wait, without a slot, for a model's provider that is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderWait {
    /// When the provider was first away without the job having got on since.
    pub since: Timestamp,
    /// When the job goes on.
    pub until: Timestamp,
    /// How long it waits this time, in milliseconds; each further time in the same outage twice as long.
    #[serde(default)]
    pub pause_ms: u64,
    /// What the provider says, for people.
    pub reason: String,
}

/// What was asked for. Complete: defaults have been filled in and every value has been checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What kind of work it is.
    pub kind: Kind,
    /// What the agents are asked to do; empty for a plain command.
    pub prompt: String,
    /// The command to run, program first; empty for the agent team.
    pub command: Vec<String>,
    /// Environment that the caller adds. May hold secrets of the caller: never shown.
    pub env: BTreeMap<String, String>,
    /// The working directory inside the container.
    pub workdir: String,
    /// What it may use.
    pub limits: Limits,
    /// Seconds its command may run.
    pub timeout_s: u32,
    /// How it waits for a slot, and whether it is run again.
    #[serde(default, rename = "terms")]
    pub options: SchedulingOptions,
    /// The jobs whose messages its team goes on from, instead of beginning anew, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continues: Vec<JobId>,
}

impl Job {
    /// When it joins the queue, if that is not at once.
    pub(crate) fn joins_at(&self) -> Option<Timestamp> {
        let resumes = self.provider_wait.as_ref().map(|wait| wait.until);
        self.spec.options.start_at.max(resumes)
    }

    /// When it joins the queue, if that is after `now`.
    pub(crate) fn joins_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.joins_at().filter(|at| *at > now)
    }
}

/// What kind of work a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Agents, or a command, in the agent container.
    Agent,
    /// The app's dev servers.
    Dev,
    /// A production build.
    Build,
}

/// How the command of a job ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Exit code, unless a signal ended it.
    pub code: Option<i64>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Processes that were killed for want of memory.
    pub oom_kills: u64,
}

impl Kind {
    /// Its name, as users see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Dev => "dev",
            Self::Build => "build",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        [Self::Agent, Self::Dev, Self::Build].into_iter().find(|kind| kind.name() == text).ok_or(UnknownKind)
    }
}

/// Not a kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job's kind is agent, dev or build")]
pub struct UnknownKind;
