//! What each kind of job runs in: the platform's answer to the scheduler.

use async_trait::async_trait;
use mgx_agent_runner::protocol::Team;
use mgx_scheduler::blueprint::{Blueprint, Plan};
use mgx_scheduler::job::Job;

use crate::attempt_token::AttemptTokens;
use crate::sessions::Sessions;

/// Plans jobs from their sessions.
#[derive(Clone, Debug)]
pub struct JobBlueprint {
    /// The sessions, and their workspaces.
    pub sessions: Sessions,
    /// Mints what the container shows to the LLM proxy.
    pub tokens: AttemptTokens,
    /// The image of every container.
    pub image: String,
    /// The agent team.
    pub team: Team,
}

#[async_trait]
impl Blueprint for JobBlueprint {
    async fn plan(&self, _job: &Job) -> Result<Plan, String> {
        unimplemented!()
    }
}
