//! The kinds of events in a session's log.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::StateName;

/// What an event reports. Written as one word, `snake_case`: `job_queued`, `tool_start`, `finish`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// A piece of what the model thinks before it answers.
    ReasoningDelta,
    /// A piece of the arguments of a tool call that is being written.
    ToolDelta,
    /// The team waits before it asks the model's provider again: `reason`, `wait_ms`, `try`.
    ProviderWait,
    /// The session's older messages were summarised, or results were shortened, so that the next request fits.
    ContextShortened,
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
    /// The longest name that an agent may use, in bytes.
    const MAX_BYTES: usize = 40;

    /// Every kind that has a name of its own, but those of [`EventKind::Job`].
    const NAMED: [Self; 19] = [
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
        Self::ReasoningDelta,
        Self::ToolDelta,
        Self::ProviderWait,
        Self::ContextShortened,
        Self::ToolStart,
        Self::ToolEnd,
        Self::Log,
        Self::Custom,
    ];

    /// Every kind that has a name of its own.
    pub fn named() -> impl Iterator<Item = Self> {
        StateName::ALL.into_iter().map(Self::Job).chain(Self::NAMED)
    }

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
            Self::ReasoningDelta => "reasoning_delta",
            Self::ToolDelta => "tool_delta",
            Self::ProviderWait => "provider_wait",
            Self::ContextShortened => "context_shortened",
            Self::ToolStart => "tool_start",
            Self::ToolEnd => "tool_end",
            Self::Log => "log",
            Self::Custom => "custom",
            Self::Other(name) => name,
        }
    }

    /// The kind with this name; [`EventKind::Other`] if it is none of ours.
    pub fn of(name: &str) -> Self {
        match name {
            "job_queued" => Self::Job(StateName::Queued),
            "job_admitted" => Self::Job(StateName::Admitted),
            "job_starting" => Self::Job(StateName::Starting),
            "job_running" => Self::Job(StateName::Running),
            "job_stopping" => Self::Job(StateName::Stopping),
            "job_succeeded" => Self::Job(StateName::Succeeded),
            "job_failed" => Self::Job(StateName::Failed),
            "job_cancelled" => Self::Job(StateName::Cancelled),
            "job_timed_out" => Self::Job(StateName::TimedOut),
            "job_expired" => Self::Job(StateName::Expired),
            "job_reattached" => Self::JobReattached,
            "finish" => Self::Finish,
            "truncated" => Self::Truncated,
            "llm_usage" => Self::LlmUsage,
            "llm_refused" => Self::LlmRefused,
            "agent_start" => Self::AgentStart,
            "agent_end" => Self::AgentEnd,
            "agent_error" => Self::AgentError,
            "message_delta" => Self::MessageDelta,
            "message_reset" => Self::MessageReset,
            "message_complete" => Self::MessageComplete,
            "reasoning_delta" => Self::ReasoningDelta,
            "tool_delta" => Self::ToolDelta,
            "provider_wait" => Self::ProviderWait,
            "context_shortened" => Self::ContextShortened,
            "tool_start" => Self::ToolStart,
            "tool_end" => Self::ToolEnd,
            "log" => Self::Log,
            "custom" => Self::Custom,
            name => Self::Other(name.into()),
        }
    }

    /// Whether only the platform writes such events, so that no agent can tell a reader that its job has ended.
    /// Reserved are also `ping`, which keeps an event stream open, and every name that begins with `job_` or `llm_`.
    pub fn is_platforms(&self) -> bool {
        match self {
            Self::Job(_)
            | Self::JobReattached
            | Self::Finish
            | Self::Truncated
            | Self::LlmUsage
            | Self::LlmRefused => true,
            Self::AgentStart
            | Self::AgentEnd
            | Self::AgentError
            | Self::MessageDelta
            | Self::MessageReset
            | Self::MessageComplete
            | Self::ReasoningDelta
            | Self::ToolDelta
            | Self::ProviderWait
            | Self::ContextShortened
            | Self::ToolStart
            | Self::ToolEnd
            | Self::Log
            | Self::Custom => false,
            Self::Other(name) => &**name == "ping" || name.starts_with("job_") || name.starts_with("llm_"),
        }
    }

    /// Whether the name consists of a-z, 0-9 and `_` only, and so can neither end a line nor be mistaken for markup.
    pub fn is_plain(&self) -> bool {
        let name = self.as_str();
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }

    /// Whether the runner link takes it: the name is plain and at most 40 bytes long.
    pub fn is_well_formed(&self) -> bool {
        self.as_str().len() <= Self::MAX_BYTES && self.is_plain()
    }

    /// Whether an agent may report events of this kind: the name is well formed and not
    /// [the platform's](Self::is_platforms).
    pub fn is_for_agents(&self) -> bool {
        self.is_well_formed() && !self.is_platforms()
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

impl From<&str> for EventKind {
    fn from(name: &str) -> Self {
        Self::of(name)
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Ok(Self::of(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_the_kind_it_names() {
        for kind in EventKind::named() {
            assert_eq!(EventKind::of(kind.as_str()), kind);
            assert_eq!(serde_json::to_value(&kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn an_unknown_name_survives_unchanged() {
        for name in ["preview_ready", "", "Übel \u{0}\n\"", &"x".repeat(1000)] {
            let json = serde_json::to_string(name).unwrap();
            let kind: EventKind = serde_json::from_str(&json).unwrap();
            assert_eq!(kind, EventKind::Other(name.into()));
            assert_eq!(serde_json::to_string(&kind).unwrap(), json);
        }
    }

    #[test]
    fn an_agent_may_not_use_what_is_the_platforms_or_no_plain_name() {
        let may = |name: &str| EventKind::of(name).is_for_agents();
        for name in ["agent_start", "log", "custom", "preview_ready", &"x".repeat(40)] {
            assert!(may(name), "{name}");
        }
        for name in ["finish", "job_running", "job_new", "llm_usage", "llm_new", "ping", "truncated"] {
            assert!(!may(name), "{name}");
        }
        for name in ["", "Übel", "a\nevent: finish", &"x".repeat(41)] {
            assert!(!may(name), "{name}");
        }
    }
}
