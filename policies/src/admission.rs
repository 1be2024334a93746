//! Admission: every job that a user submits passes all policies here before it reaches the scheduler.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use governor::clock::Clock;
use mgx_protocol::JobId;
use mgx_scheduler::{Caps, Scheduler};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use crate::batch::{Batch, Decision, Submitter};
use crate::budget::{self, SessionBudget};
use crate::fit;
use crate::queue::Queue;
use crate::rate::{self, Rate};
use crate::refusal::Refusal;
use crate::refusal::log::RefusalLog;
use crate::time_limits::{self, TimeLimits};

/// The settings of all policies.
#[derive(Clone, Debug)]
pub struct Policies {
    /// How long a job may run and wait.
    pub times: TimeLimits,
    /// What may ever run.
    pub caps: Caps,
    /// What the agents of a session may use of the model.
    pub allowance: SessionBudget,
    /// How fast a user may submit jobs.
    pub rate: Rate,
}

/// Admits jobs to the scheduler, or says why not. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    stack: BoxCloneSyncService<Batch, Vec<Decision>, Infallible>,
    log: Arc<LogRefusal>,
}

/// Logs a refusal.
type LogRefusal = dyn Fn(&Submitter, JobId, &Refusal) + Send + Sync;

impl Admission {
    /// The policies in front of `scheduler`. The outermost sees a job first; those that remember what they have
    /// admitted stand as far in as can be.
    pub fn new(
        policies: Policies,
        scheduler: Scheduler,
        clock: impl Clock + Clone + Send + Sync + 'static,
    ) -> Self {
        let Policies { times, caps, allowance, rate } = policies;
        let log = RefusalLog::new(clock.clone());
        let stack = ServiceBuilder::new()
            .layer(time_limits::layer(times))
            .layer(fit::layer(caps))
            .layer(budget::layer(allowance))
            .layer(rate::layer(rate, clock))
            .service(Queue(scheduler));
        Self {
            stack: BoxCloneSyncService::new(stack),
            log: Arc::new(move |from, job, refusal| log.write(from, job, refusal)),
        }
    }

    /// Decides about every job of a batch; those that are admitted are stored and will run when this returns. One
    /// decision for each job, in their order.
    pub async fn submit(&self, batch: Batch) -> Vec<Decision> {
        let from = batch.from.clone();
        let ids: Vec<_> = batch.jobs.iter().map(|job| job.id).collect();
        let Ok(decisions) = self.stack.clone().oneshot(batch).await;
        for (job, decision) in ids.into_iter().zip(&decisions) {
            if let Err(refusal) = decision {
                (self.log)(&from, job, refusal);
            }
        }
        decisions
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
