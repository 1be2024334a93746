//! What the limits of the policies are on, each with its key in the configuration.

/// A time of a job that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLimit {
    /// How long its command may run.
    Run,
    /// How long it may wait for a slot.
    Wait,
}

impl TimeLimit {
    /// The key of its limit in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Run => "agent.max_timeout",
            Self::Wait => "queue.max_ttl",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "a run time",
            Self::Wait => "a time in the queue",
        }
    }
}

/// What can be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LlmResource {
    /// Requests to a model.
    Requests,
    /// Tokens, sent and received.
    Tokens,
    /// What they cost.
    Cost,
}

impl LlmResource {
    /// The key of its limit in the configuration.
    pub fn limit(self) -> &'static str {
        match self {
            Self::Requests => "llm.max_requests_per_session",
            Self::Tokens => "llm.max_tokens_per_session",
            Self::Cost => "llm.max_cost_per_session",
        }
    }

    /// An amount as the operator would write it.
    pub(crate) fn show(self, amount: u64) -> String {
        match self {
            Self::Requests | Self::Tokens => amount.to_string(),
            Self::Cost => format!("{}.{:06}", amount / MICROS, amount % MICROS),
        }
    }
}

/// Millionths in one unit.
const MICROS: u64 = 1_000_000;

/// What a session has used of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpentBudget {
    /// Requests.
    pub requests: u64,
    /// Tokens, sent and received.
    pub tokens: u64,
    /// What they cost, in millionths of the operator's unit.
    pub cost_micros: u64,
}
