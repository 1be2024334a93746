//! What the handlers work on.

mod engine;
mod imports;
mod pools;

use mgx_apps::{AppIdentity, Idempotency, Sessions};
use mgx_policies::{Admission, TimeLimits};
use mgx_runtimes::Limits;
use mgx_scheduler::Scheduler;
use tokio_util::sync::CancellationToken;

use crate::auth::Gate;
use crate::auth::app_client::AppClients;
use crate::events::Streams;

pub use engine::EngineProbe;
pub use imports::Imports;
pub use pools::Pools;

/// What the routes are about.
#[derive(Debug)]
pub struct App {
    /// Lets jobs in.
    pub admission: Admission,
    /// Runs them.
    pub scheduler: Scheduler,
    /// The sessions, and their workspaces.
    pub sessions: Sessions,
    /// What their apps are at the provider.
    pub identities: AppIdentity,
    /// Asks the container engine how it is.
    pub engine: EngineProbe,
    /// Asks the warm pools how they are.
    pub pools: Pools,
    /// Lets callers in.
    pub gate: Gate,
    /// Whether this process is the provider for everybody, under `/oauth2`.
    pub is_provider: bool,
    /// What a job gets, and the most it may ask for.
    pub rules: JobRules,
    /// What was asked under an `Idempotency-Key`, and what was answered.
    pub idempotency: Idempotency,
    /// Takes in sessions from elsewhere.
    pub imports: Imports,
    /// The event streams that are open.
    pub streams: Streams,
    /// Cancelled when the server shuts down: ends the event streams.
    pub closing: CancellationToken,
}

impl App {
    /// Registers and removes the generated apps of sessions at the provider.
    pub(crate) fn app_clients(&self) -> AppClients<'_> {
        AppClients { provider: self.gate.provider(), identities: &self.identities }
    }
}

/// What a job gets if it does not say, and the most it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRules {
    /// What its container may use by default (`AGENT_CONTAINER_MEMORY_LIMIT`, `AGENT_CONTAINER_CPU_QUOTA`).
    pub default_limits: Limits,
    /// The most its container may use.
    pub max_limits: Limits,
    /// How long it may run (`AGENT_TASK_TIMEOUT_SECONDS`) and wait.
    pub times: TimeLimits,
}
