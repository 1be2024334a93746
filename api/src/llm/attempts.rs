//! What the LLM proxy needs to know of attempts, and says to their logs.

use std::fmt;

use async_trait::async_trait;
use mgx_apps::AttemptTokens;
use mgx_protocol::{Attempt, JobId, SessionId};
use mgx_scheduler::Scheduler;
use serde_json::{Map, Value};

/// Attempts as the LLM proxy sees them: who holds which token, who still lives, where a log is.
#[async_trait]
pub trait Attempts: Send + Sync + fmt::Debug {
    /// Whose token this is, if it is one; says nothing of whether that attempt still lives.
    fn verify(&self, token: &str) -> Option<(JobId, Attempt)>;

    /// Whether the attempt is under way.
    fn is_live(&self, job: JobId, attempt: Attempt) -> bool;

    /// The session that the job belongs to.
    ///
    /// # Errors
    /// The store cannot be read; the text is for people.
    async fn session(&self, job: JobId) -> Result<Option<SessionId>, String>;

    /// Adds an event to the log of the attempt's session.
    ///
    /// # Errors
    /// The store cannot be written, or the attempt is over; the text is for people.
    async fn record(
        &self,
        job: JobId,
        attempt: Attempt,
        kind: &str,
        data: Map<String, Value>,
    ) -> Result<(), String>;
}

/// The platform's attempts: its tokens, and its scheduler.
#[derive(Clone, Debug)]
pub struct PlatformAttempts {
    /// Whose token is whose.
    pub tokens: AttemptTokens,
    /// Who still lives, and where the logs are.
    pub scheduler: Scheduler,
}

#[async_trait]
impl Attempts for PlatformAttempts {
    fn verify(&self, token: &str) -> Option<(JobId, Attempt)> {
        self.tokens.verify(token)
    }

    fn is_live(&self, job: JobId, attempt: Attempt) -> bool {
        self.scheduler.is_live(job, attempt)
    }

    async fn session(&self, job: JobId) -> Result<Option<SessionId>, String> {
        let job = self.scheduler.job(job).await.map_err(|error| error.to_string())?;
        Ok(job.map(|job| job.session))
    }

    async fn record(
        &self,
        job: JobId,
        attempt: Attempt,
        kind: &str,
        data: Map<String, Value>,
    ) -> Result<(), String> {
        self.scheduler.record(job, attempt, kind, data).await.map_err(|error| error.to_string())
    }
}
