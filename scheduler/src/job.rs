//! A job and its whole state machine.
//!
//! ```text
//! queued ──▶ admitted ──▶ starting ──▶ running ──▶ stopping ──▶ succeeded | failed | cancelled | timed_out | expired
//!   ▲ │         │ │         │ │         │ │                        ▲
//!   │ └─────────│─┴─────────│─┴─────────│─┴────────────────────────┘
//!   └───────────┴───────────┴───────────┘ (its command never began, or is to be run again: next attempt)
//! ```
//!
//! [`State::after`] decides every change of state; everything else only calls it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use mgx_protocol::{Attempt, JobId, SessionId, StateName};
use mgx_runtimes::Limits;
use serde::{Deserialize, Serialize};

use crate::clock::Uptime;
use crate::terms::Terms;

/// A job: what was asked for, and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The session it belongs to.
    pub session: SessionId,
    /// Who asked for it; turns are fair between users.
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
    /// How it waits, and whether it is tried again.
    #[serde(default)]
    pub terms: Terms,
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

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "outcome")]
pub enum State {
    /// Stored, and waiting for its turn.
    Queued,
    /// It holds a slot.
    Admitted,
    /// Its container is being made.
    Starting,
    /// Its command runs.
    Running,
    /// Its command is being ended, and will have ended like this.
    Stopping(Outcome),
    /// It is over.
    Ended(Outcome),
}

/// How a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "reason")]
pub enum Outcome {
    /// It did what it was asked.
    Succeeded,
    /// It did not.
    Failed(Failure),
    /// Somebody asked for its end.
    Cancelled,
    /// Its time was up.
    TimedOut,
    /// Its turn did not come in time.
    Expired,
}

/// Why a job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The agent said that it did not succeed.
    FinishError,
    /// The command ended with a code other than 0, or by a signal.
    NonzeroExit,
    /// The kernel ended it for want of memory.
    OomKilled,
    /// Its image is not there.
    ImageMissing,
    /// Its container could not be started.
    StartFailed,
    /// Its container vanished.
    RuntimeLost,
}

/// Something that changes a job's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It was given a slot.
    Admit,
    /// Its container is being made.
    Start,
    /// Its command runs.
    Run,
    /// Its command never began, or is to be run again: back into the line.
    Requeue,
    /// Its command is to end, and this is why.
    Stop(Outcome),
    /// It is over.
    End(Outcome),
}

/// A transition that is not possible from the state a job is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {} cannot {transition:?}", state.name())]
pub struct WrongState {
    /// Where it stands.
    pub state: State,
    /// What was tried.
    pub transition: Transition,
}

impl State {
    /// The state after `transition`. The first reason to stop wins; an end is left by nothing.
    ///
    /// # Errors
    /// [`WrongState`] if the transition is not possible from here.
    pub fn after(self, transition: Transition) -> Result<Self, WrongState> {
        use Transition as T;
        match (self, transition) {
            (Self::Queued, T::Admit) => Ok(Self::Admitted),
            (Self::Admitted, T::Start) => Ok(Self::Starting),
            (Self::Starting, T::Run) => Ok(Self::Running),
            (Self::Admitted | Self::Starting | Self::Running, T::Requeue) => Ok(Self::Queued),
            (Self::Starting | Self::Running, T::Stop(outcome)) => Ok(Self::Stopping(outcome)),
            (Self::Stopping(first), T::Stop(_)) => Ok(Self::Stopping(first)),
            (Self::Stopping(first), T::End(_)) => Ok(Self::Ended(first)),
            (Self::Queued | Self::Admitted | Self::Starting | Self::Running, T::End(outcome)) => {
                Ok(Self::Ended(outcome))
            }
            (
                Self::Queued
                | Self::Admitted
                | Self::Starting
                | Self::Running
                | Self::Stopping(_)
                | Self::Ended(_),
                T::Admit | T::Start | T::Run | T::Requeue | T::Stop(_) | T::End(_),
            ) => Err(WrongState { state: self, transition }),
        }
    }

    /// How it has ended.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Ended(outcome) => Some(outcome),
            Self::Queued | Self::Admitted | Self::Starting | Self::Running | Self::Stopping(_) => None,
        }
    }

    /// Whether its command was begun and may still run.
    pub fn has_command(self) -> bool {
        match self {
            Self::Running | Self::Stopping(_) => true,
            Self::Queued | Self::Admitted | Self::Starting | Self::Ended(_) => false,
        }
    }

    /// Whether nothing can change any more.
    pub fn has_ended(self) -> bool {
        self.outcome().is_some()
    }

    /// Its name, as users see it: `queued`, `running`, `timed_out`, …
    pub fn name(self) -> StateName {
        match self {
            Self::Queued => StateName::Queued,
            Self::Admitted => StateName::Admitted,
            Self::Starting => StateName::Starting,
            Self::Running => StateName::Running,
            Self::Stopping(_) => StateName::Stopping,
            Self::Ended(outcome) => outcome.name(),
        }
    }

    /// Why it is stopping or has ended, if that needs a reason.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Queued | Self::Admitted | Self::Starting | Self::Running => None,
            Self::Stopping(outcome) | Self::Ended(outcome) => outcome.reason(),
        }
    }
}

impl Outcome {
    /// Its name as a final state.
    pub fn name(self) -> StateName {
        match self {
            Self::Succeeded => StateName::Succeeded,
            Self::Failed(_) => StateName::Failed,
            Self::Cancelled => StateName::Cancelled,
            Self::TimedOut => StateName::TimedOut,
            Self::Expired => StateName::Expired,
        }
    }

    /// Why, unless it succeeded.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Succeeded => None,
            Self::Failed(failure) => Some(failure.name()),
            Self::Cancelled => Some("user_request"),
            Self::TimedOut => Some("run_timeout"),
            Self::Expired => Some("queue_ttl"),
        }
    }

    /// The `status` of its `finish` event, in the words of the seeds' stream.
    pub fn finish_status(self) -> &'static str {
        match self {
            Self::Succeeded => "success",
            Self::Failed(_) => "error",
            Self::Cancelled => "stopped",
            Self::TimedOut => "timeout",
            Self::Expired => "expired",
        }
    }
}

impl Failure {
    /// Whether another run may go better.
    pub fn may_pass(self) -> bool {
        match self {
            Self::FinishError | Self::NonzeroExit | Self::OomKilled | Self::RuntimeLost => true,
            Self::ImageMissing | Self::StartFailed => false,
        }
    }

    /// Its name as a reason.
    pub fn name(self) -> &'static str {
        match self {
            Self::FinishError => "finish_event_error",
            Self::NonzeroExit => "nonzero_exit",
            Self::OomKilled => "oom_killed",
            Self::ImageMissing => "image_missing",
            Self::StartFailed => "start_failed",
            Self::RuntimeLost => "runtime_lost",
        }
    }
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
