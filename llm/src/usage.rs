//! What was used of the models, and where the sums are kept. Below: limits, prices, and the record of each answer.

pub(crate) mod budget;
pub mod limits;
pub(crate) mod metering;
mod parser;
pub mod price;
pub(crate) mod sums;

use std::fmt;

use async_trait::async_trait;
use axum::BoxError;
use mgx_protocol::SessionId;

/// What was used of the models: by one answer, or by a session in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that a model answered.
    pub requests: u64,
    /// Tokens sent.
    pub prompt_tokens: u64,
    /// Tokens received.
    pub completion_tokens: u64,
    /// Their cost, in millionths of the unit in which the operator writes prices.
    pub cost_micros: u64,
}

impl Usage {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
            cost_micros: self.cost_micros.saturating_add(other.cost_micros),
        }
    }
}

/// The usage of every session. An addition that has returned is durable.
#[async_trait]
pub trait UsageStore: Send + Sync + fmt::Debug {
    /// What the session has used so far; `None` if there is no such session.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn usage(&self, session: &SessionId) -> Result<Option<Usage>, BoxError>;

    /// Adds to what the session has used, and returns the sum.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn add_usage(&self, session: &SessionId, used: Usage) -> Result<Usage, BoxError>;
}
