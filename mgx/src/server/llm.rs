//! The platform as the LLM proxy sees it: attempts by their tokens, and usage in the store.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use mgx_apps::{AttemptTokens, SessionStore};
use mgx_llm::{Attempts, JobOwner, Usage, UsageStore};
use mgx_protocol::{Attempt, EventKind, JobId, SessionId};
use mgx_scheduler::Scheduler;
use serde_json::{Map, Value};

/// Attempts, known by their tokens, in the scheduler.
#[derive(Clone, Debug)]
pub(super) struct PlatformAttempts {
    pub(super) tokens: AttemptTokens,
    pub(super) scheduler: Scheduler,
}

#[async_trait]
impl Attempts for PlatformAttempts {
    fn verify(&self, token: &str) -> Option<(JobId, Attempt)> {
        self.tokens.verify(token)
    }

    fn is_live(&self, job: JobId, attempt: Attempt) -> bool {
        self.scheduler.is_live(job, attempt)
    }

    async fn owner(&self, job: JobId) -> Result<Option<JobOwner>, Box<dyn Error + Send + Sync>> {
        let job = self.scheduler.job(job).await?;
        Ok(job.map(|job| JobOwner { session: job.session.clone(), user: job.user.clone() }))
    }

    async fn record(
        &self,
        job: JobId,
        attempt: Attempt,
        kind: EventKind,
        data: Map<String, Value>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.scheduler.record(job, attempt, kind, data).await?)
    }
}

/// The usage of each session, in the store of sessions.
#[derive(Clone, Debug)]
pub(super) struct SessionUsage(pub(super) Arc<dyn SessionStore>);

#[async_trait]
impl UsageStore for SessionUsage {
    async fn usage(&self, session: &SessionId) -> Result<Option<Usage>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.session(session).await?.map(|session| from_session(session.usage)))
    }

    async fn add_usage(
        &self,
        session: &SessionId,
        used: Usage,
    ) -> Result<Usage, Box<dyn Error + Send + Sync>> {
        let Usage { requests, prompt_tokens, completion_tokens, cost_micros } = used;
        let used = mgx_apps::Usage { requests, prompt_tokens, completion_tokens, cost_micros };
        Ok(from_session(self.0.add_usage(session, used).await?))
    }
}

fn from_session(usage: mgx_apps::Usage) -> Usage {
    let mgx_apps::Usage { requests, prompt_tokens, completion_tokens, cost_micros } = usage;
    Usage { requests, prompt_tokens, completion_tokens, cost_micros }
}
