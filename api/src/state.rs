//! [`App`], the state that the handlers share: the parts of the platform that they call.

mod engine;
mod imports;
mod pools;
mod store_probe;

use std::time::Duration;

use mgx_apps::{AppIdentity, Idempotency, Sessions};
use mgx_policies::{Admission, TimeLimits};
use mgx_protocol::JobId;
use mgx_runtimes::Limits;
use mgx_scheduler::{JobReader, QueuePosition, Scheduler};
use tokio_util::sync::CancellationToken;

use crate::auth::Gate;
use crate::auth::app_client::AppClients;
use crate::events::Streams;
use crate::http::{Problem, Slug};

pub use engine::EngineProbe;
pub use imports::Imports;
pub use pools::Pools;
pub use store_probe::StoreProbe;

/// `Retry-After` of a request that only the process can answer that schedules.
const LEADER_WAIT: Duration = Duration::from_secs(1);

/// The parts of the platform that the handlers call.
#[derive(Debug)]
pub struct App {
    /// Reads what is stored of jobs and events.
    pub jobs: JobReader,
    /// Asks the store whether it takes writes.
    pub store: StoreProbe,
    /// What runs jobs; `None` in a process on standby.
    pub scheduling: Option<Scheduling>,
    /// The sessions and their workspaces.
    pub sessions: Sessions,
    /// The OAuth 2 identities of the sessions' apps.
    pub identities: AppIdentity,
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

/// What only the process has that schedules.
#[derive(Debug)]
pub struct Scheduling {
    /// Admits or refuses jobs.
    pub admission: Admission,
    /// Runs the admitted jobs.
    pub scheduler: Scheduler,
    /// Asks the container engine whether it answers.
    pub engine: EngineProbe,
    /// Asks the warm pools for their reports.
    pub pools: Pools,
}

impl App {
    /// What runs jobs.
    ///
    /// # Errors
    /// This process is on standby ([`Slug::NoScheduler`]): the caller repeats the request.
    pub(crate) fn scheduling(&self) -> Result<&Scheduling, Problem> {
        self.scheduling.as_ref().ok_or_else(|| {
            Problem::new(Slug::NoScheduler, "no process schedules at the moment").retry_after(LEADER_WAIT)
        })
    }

    /// Where a waiting job stands in the queue; `None` if it does not wait, or this process does not schedule.
    pub(crate) fn position(&self, id: JobId) -> Option<QueuePosition> {
        self.scheduling.as_ref().and_then(|scheduling| scheduling.scheduler.position(id))
    }

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
