//! How a job waits: until it is granted a slot, is cancelled or expires.
//!
//! Many jobs wait and few run. A job far back in the queue keeps only its place in memory; the rest of it, its prompt above
//! all, is read from the journal when it is granted a slot.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::JobId;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Lifecycle, StartingPoint, supervisor};
use crate::core::{Core, OwnershipLost, journal_backoff};
use crate::job::Job;
use crate::job::state::{Outcome, State};
use crate::queue::demand::Demand;
use crate::queue::permits::QueuePermit;
use crate::queue::slots::{PendingSlot, Slot};

/// Starts the task of a job that waits with `ahead` others before it.
pub(crate) fn spawn_waiting(
    core: &Arc<Core>,
    job: &Job,
    ahead: usize,
    cancel: CancellationToken,
    permit: QueuePermit,
    pending: Option<PendingSlot>,
) {
    match pending {
        Some(pending) if ahead >= core.config.in_memory => {
            let expires_at = expires_at(job);
            let unloaded =
                UnloadedJob { core: core.clone(), job: job.id, expires_at, cancel, permit, pending };
            supervisor::spawn(core, job.id, unloaded.run());
        }
        Some(_) | None => {
            let lifecycle = Lifecycle::new(core.clone(), job.clone(), permit.user().clone(), cancel);
            lifecycle.spawn(StartingPoint::Waiting { permit, pending });
        }
    }
}

/// How a wait ended.
pub(super) enum Waited {
    Granted(Slot),
    Ended(Outcome),
    OwnershipLost,
}

/// A job far back in the queue, which is in memory by its id only.
#[derive(Debug)]
struct UnloadedJob {
    core: Arc<Core>,
    job: JobId,
    expires_at: Option<Timestamp>,
    cancel: CancellationToken,
    permit: QueuePermit,
    pending: PendingSlot,
}

impl UnloadedJob {
    /// Waits for a slot, then loads the job and drives it to its terminal state.
    async fn run(mut self) {
        let waited = wait_until(&self.core, &self.cancel, self.expires_at, self.pending.granted()).await;
        // waiting jobs are many, so their futures are kept small; those of running jobs are few, and boxed
        Box::pin(self.load_and_drive(waited)).await;
    }

    async fn load_and_drive(self, waited: Waited) {
        let Self { core, job: id, expires_at: _, cancel, permit, pending } = self;
        drop(pending);
        if let Waited::OwnershipLost = waited {
            return;
        }
        let Ok(job) = read(&core, id).await else { return };
        let mut lifecycle = Lifecycle::new(core, job, permit.user().clone(), cancel);
        drop(permit);
        if lifecycle.drive(waited).await.is_ok() {
            lifecycle.core.live.remove(id);
        }
    }
}

/// Reads a waiting job, however long that takes: a store that is away comes back.
async fn read(core: &Core, id: JobId) -> Result<Job, OwnershipLost> {
    let mut backoff = journal_backoff();
    loop {
        match core.journal.job(id).await {
            Ok(Some(job)) if job.state == State::Queued => return Ok(job),
            // the task of a job is its only writer, unless another process has taken the job over
            Ok(found) => {
                let state = found.map(|job| job.state.name().as_str());
                error!(job = %id, state, "a waiting job was changed by another process, letting go");
                return Err(OwnershipLost);
            }
            Err(error) => {
                warn!(job = %id, %error, "cannot read a job that was granted a slot, trying again");
                tokio::select! {
                    () = backoff.wait() => {}
                    () = core.shutdown.cancelled() => return Err(OwnershipLost),
                }
            }
        }
    }
}

impl Lifecycle {
    /// Pauses, then waits for a slot.
    pub(super) async fn wait(&self, pause: Duration) -> Waited {
        let granted = async {
            // a timer takes a tick even for no time at all
            if !pause.is_zero() {
                sleep(pause).await;
            }
            self.core.slots.request(Demand::of(&self.job, &self.user)).granted().await
        };
        wait_until(&self.core, &self.cancel, expires_at(&self.job), granted).await
    }

    /// Waits until the job's time has come, then for a slot.
    pub(super) async fn wait_for_start(&self, permit: &mut QueuePermit) -> Waited {
        let granted = async {
            if let Some(at) = self.job.joins_at() {
                self.core.clock.sleep_until(at).await;
            }
            permit.start();
            self.core.slots.request(Demand::of(&self.job, &self.user)).granted().await
        };
        wait_until(&self.core, &self.cancel, expires_at(&self.job), granted).await
    }

    /// Waits for a slot that was requested before.
    pub(super) async fn wait_for(&self, mut pending: PendingSlot) -> Waited {
        wait_until(&self.core, &self.cancel, expires_at(&self.job), pending.granted()).await
    }
}

/// When a job has waited too long for its first slot.
fn expires_at(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.options.queue_ttl_s.filter(|_| job.runs == 0)?;
    let since = job.spec.options.start_at.map_or(job.queued_at, |at| at.max(job.queued_at));
    Some(since.checked_add(Duration::from_secs(ttl.into())).unwrap_or(Timestamp::MAX))
}

/// Waits for a slot unless the job is cancelled or expires before.
async fn wait_until(
    core: &Core,
    cancel: &CancellationToken,
    expires_at: Option<Timestamp>,
    granted: impl Future<Output = Slot>,
) -> Waited {
    let expiry = async {
        match expires_at {
            // few jobs expire, and a timer is large
            Some(at) => Box::pin(core.clock.sleep_until(at)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = core.shutdown.cancelled() => Waited::OwnershipLost,
        () = cancel.cancelled() => Waited::Ended(Outcome::Cancelled),
        () = expiry => Waited::Ended(Outcome::Expired),
        slot = granted => Waited::Granted(slot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_job_takes_little_memory() {
        fn size<F>(_: fn(UnloadedJob) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(UnloadedJob::run);
        assert!(bytes <= 640, "{bytes} bytes for each waiting job");
    }
}
