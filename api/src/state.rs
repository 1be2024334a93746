//! [`App`], the state that the handlers share: the parts of the platform that they call.

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

/// The parts of the platform that the handlers call.
#[derive(Debug)]
pub struct App {
    /// Admits or refuses jobs.
    pub admission: Admission,
    /// Runs the admitted jobs.
    pub scheduler: Scheduler,
    /// The sessions and their workspaces.
    pub sessions: Sessions,
    /// The OAuth 2 identities of the sessions' apps.
    pub identities: AppIdentity,
    /// Asks the container engine whether it answers.
    pub engine: EngineProbe,
    /// Asks the warm pools for their reports.
    pub pools: Pools,
    /// Authenticates callers.
    pub gate: Gate,
    /// Whether this process serves the OAuth 2 provider under `/oauth2`.
    pub is_provider: bool,
    /// The defaults and the limits of jobs.
    pub rules: JobRules,
    /// The requests with an `Idempotency-Key`, and their answers.
    pub idempotency: Idempotency,
    /// Imports sessions.
    pub imports: Imports,
    /// The open event streams.
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

/// The limits of a job that asks for none, and the most that a job may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRules {
    /// The limits of its container by default (`AGENT_CONTAINER_MEMORY_LIMIT`, `AGENT_CONTAINER_CPU_QUOTA`).
    pub default_limits: Limits,
    /// The highest limits of its container.
    pub max_limits: Limits,
    /// How long it may run (`AGENT_TASK_TIMEOUT_SECONDS`) and wait.
    pub times: TimeLimits,
}
