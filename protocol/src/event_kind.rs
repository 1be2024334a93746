//! The kinds of events in a session's log.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::StateName;

/// What an event tells of. Written as one word, `snake_case`: `job_queued`, `tool_start`, `finish`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum EventKind {
    /// `job_…`: the job has reached this state. Only the platform writes it.
    Job(StateName),
    /// The platform was restarted and has taken the running job up again. Only the platform writes it.
    JobReattached,
    /// The job has ended: the last event of every job, exactly once. Only the platform writes it.
    Finish,
    /// Here the log leaves out what was beyond its limits. Only the platform writes it.
    Truncated,
    /// What a model call used. Only the platform writes it.
    LlmUsage,
    /// A model call that the platform refused. Only the platform writes it.
    LlmRefused,
    /// An agent begins.
    AgentStart,
    /// An agent has ended.
    AgentEnd,
    /// An agent could not go on.
    AgentError,
    /// A piece of a message that is being written.
    MessageDelta,
    /// What was sent of a message does not count; it begins again.
    MessageReset,
    /// A whole message.
    MessageComplete,
    /// A tool begins.
    ToolStart,
    /// A tool has ended.
    ToolEnd,
    /// Output of a command, or a note of the runner.
    Log,
    /// What an agent said under a name that it may not use.
    Custom,
    /// A kind that an agent has made up, or that a newer version knows.
    Other(Box<str>),
}

impl EventKind {
    /// Every kind that has a name of its own, but those of [`EventKind::Job`].
    const NAMED: [Self; 15] = [
        Self::JobReattached,
        Self::Finish,
        Self::Truncated,
        Self::LlmUsage,
        Self::LlmRefused,
        Self::AgentStart,
        Self::AgentEnd,
        Self::AgentError,
        Self::MessageDelta,
        Self::MessageReset,
        Self::MessageComplete,
        Self::ToolStart,
        Self::ToolEnd,
        Self::Log,
        Self::Custom,
    ];

    /// The kind's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Job(state) => job_kind(*state),
            Self::JobReattached => "job_reattached",
            Self::Finish => "finish",
            Self::Truncated => "truncated",
            Self::LlmUsage => "llm_usage",
            Self::LlmRefused => "llm_refused",
            Self::AgentStart => "agent_start",
            Self::AgentEnd => "agent_end",
            Self::AgentError => "agent_error",
            Self::MessageDelta => "message_delta",
            Self::MessageReset => "message_reset",
            Self::MessageComplete => "message_complete",
            Self::ToolStart => "tool_start",
            Self::ToolEnd => "tool_end",
            Self::Log => "log",
            Self::Custom => "custom",
            Self::Other(name) => name,
        }
    }

    /// The kind with this name.
    pub fn of(name: &str) -> Self {
        let state = StateName::ALL.into_iter().find(|state| job_kind(*state) == name).map(Self::Job);
        state
            .or_else(|| Self::NAMED.into_iter().find(|kind| kind.as_str() == name))
            .unwrap_or_else(|| Self::Other(name.into()))
    }
}

const fn job_kind(state: StateName) -> &'static str {
    match state {
        StateName::Queued => "job_queued",
        StateName::Admitted => "job_admitted",
        StateName::Starting => "job_starting",
        StateName::Running => "job_running",
        StateName::Stopping => "job_stopping",
        StateName::Succeeded => "job_succeeded",
        StateName::Failed => "job_failed",
        StateName::Cancelled => "job_cancelled",
        StateName::TimedOut => "job_timed_out",
        StateName::Expired => "job_expired",
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = Infallible;
    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self::of(name))
    }
}

impl From<String> for EventKind {
    fn from(name: String) -> Self {
        Self::of(&name)
    }
}

impl From<EventKind> for String {
    fn from(kind: EventKind) -> Self {
        kind.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_the_kind_it_names() {
        let jobs = StateName::ALL.into_iter().map(EventKind::Job);
        for kind in EventKind::NAMED.into_iter().chain(jobs) {
            assert_eq!(EventKind::of(kind.as_str()), kind);
        }
        assert_eq!(EventKind::of("preview_ready"), EventKind::Other("preview_ready".into()));
    }
}
