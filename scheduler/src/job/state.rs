//! A job's state machine.
//!
//! ```text
//! queued ──▶ admitted ──▶ starting ──▶ running ──▶ stopping ──▶ succeeded | failed | cancelled | timed_out | expired
//!   ▲ │         │ │         │ │         │ │                        ▲
//!   │ └─────────│─┴─────────│─┴─────────│─┴────────────────────────┘
//!   └───────────┴───────────┴───────────┘ (its command never began, or is run again: next attempt)
//! ```
//!
//! [`State::after`] decides every change of state; everything else only calls it.

use mgx_protocol::StateName;
use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "outcome")]
pub enum State {
    /// Stored, and waiting for a slot.
    Queued,
    /// It holds a slot.
    Admitted,
    /// Its container is being made.
    Starting,
    /// Its command runs.
    Running,
    /// Its command is being ended, and will have ended like this.
    Stopping(Outcome),
    /// It has ended.
    Ended(Outcome),
}

/// How a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "reason")]
pub enum Outcome {
    /// Its command or its agents succeeded.
    Succeeded,
    /// They did not.
    Failed(Failure),
    /// A user asked for its end.
    Cancelled,
    /// It ran longer than allowed.
    TimedOut,
    /// It waited for a slot longer than allowed.
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
    /// Its model's provider stayed away longer than a job may wait for it.
    ProviderUnavailable,
    /// The platform's own task for the job panicked: a mistake in the platform.
    Internal,
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
    /// Its command never began, or is to be run again: back into the queue.
    Requeue,
    /// Its command is to end, and this is why.
    Stop(Outcome),
    /// It ends.
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
    /// Whether another run may succeed, so that the job's `retry` applies.
    pub fn is_transient(self) -> bool {
        match self {
            Self::FinishError | Self::NonzeroExit | Self::OomKilled | Self::RuntimeLost => true,
            // it has been tried for as long as the operator allows
            Self::ProviderUnavailable | Self::ImageMissing | Self::StartFailed | Self::Internal => false,
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
            Self::ProviderUnavailable => "provider_unavailable",
            Self::Internal => "internal",
        }
    }
}
