//! How a job becomes a container and an invocation: the trait that the platform above the scheduler implements.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use mgx_protocol::{Conversation, Team, WorkspaceId};
use mgx_runtimes::ContainerSpec;

use super::Job;

/// Plans what each kind of job runs in. Called once for every attempt, just before its container is created.
#[async_trait]
pub trait Blueprint: Send + Sync + fmt::Debug {
    /// The plan for the attempt that `job` is at.
    ///
    /// # Errors
    /// Why this job cannot run, for people. The job fails with this text.
    async fn plan(&self, job: &Job) -> Result<Plan, String>;
}

/// What to make, and what to run in it.
#[derive(Clone)]
pub struct Plan {
    /// The container.
    pub spec: ContainerSpec,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The workspace's directory, as the engine sees it.
    pub workspace_dir: PathBuf,
    /// Labels for people.
    pub labels: BTreeMap<String, String>,
    /// The whole environment of the command, tokens included. Never printed.
    pub env: BTreeMap<String, String>,
    /// The team, for a job without a command.
    pub team: Team,
    /// What was said in the session before, for the team.
    pub conversation: Conversation,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("spec", &self.spec)
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}
