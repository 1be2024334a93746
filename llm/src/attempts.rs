//! Attempts as the proxy sees them: a trait that the platform implements.

use std::fmt;

use async_trait::async_trait;
use axum::BoxError;
use mgx_protocol::{Attempt, EventKind, JobId, SessionId};
use serde_json::{Map, Value};

/// Whose job it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOwner {
    /// Its session.
    pub session: SessionId,
    /// Its user.
    pub user: String,
}

/// Tokens, state and event logs of the attempts that the platform runs.
#[async_trait]
pub trait Attempts: Send + Sync + fmt::Debug {
    /// The attempt that `token` was issued to, whether it still runs or not; `None` if the platform issued no such
    /// token.
    fn verify(&self, token: &str) -> Option<(JobId, Attempt)>;

    /// Whether the attempt is running.
    fn is_live(&self, job: JobId, attempt: Attempt) -> bool;

    /// The session and the user that the job belongs to.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn owner(&self, job: JobId) -> Result<Option<JobOwner>, BoxError>;

    /// Appends an event to the log of the attempt's session.
    ///
    /// # Errors
    /// The store cannot be written, or the attempt has ended.
    async fn record(
        &self,
        job: JobId,
        attempt: Attempt,
        kind: EventKind,
        data: Map<String, Value>,
    ) -> Result<(), BoxError>;
}
