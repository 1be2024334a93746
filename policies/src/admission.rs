//! The door to the scheduler: every job that a user asks for comes through here, past every policy.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use governor::clock::Clock;
use mgx_protocol::JobId;
use mgx_scheduler::{Caps, Scheduler};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use crate::batch::{Applicant, Batch, Decision};
use crate::budget::{self, Allowance};
use crate::fit;
use crate::queue::Queue;
use crate::rate::{self, Rate};
use crate::refusal::Refusal;
use crate::refusal_log::RefusalLog;
use crate::timeout::{self, Times};

/// What each policy is told by the operator.
#[derive(Clone, Debug)]
pub struct Policies {
    /// How long a job may run and wait.
    pub times: Times,
    /// What may ever run.
    pub caps: Caps,
    /// What a session may use of the model.
    pub allowance: Allowance,
    /// How fast a user may submit jobs.
    pub rate: Rate,
}

/// Admits jobs to the scheduler, or says why not. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    stack: BoxCloneSyncService<Batch, Vec<Decision>, Infallible>,
    tell: Arc<Tell>,
}

/// Tells the log of a refusal.
type Tell = dyn Fn(&Applicant, JobId, &Refusal) + Send + Sync;

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
            .layer(timeout::layer(times))
            .layer(fit::layer(caps))
            .layer(budget::layer(allowance))
            .layer(rate::layer(rate, clock))
            .service(Queue(scheduler));
        Self {
            stack: BoxCloneSyncService::new(stack),
            tell: Arc::new(move |from, job, refusal| log.tell(from, job, refusal)),
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
                (self.tell)(&from, job, refusal);
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
