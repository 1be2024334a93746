//! How a job waits: in line, until its turn comes or it is over before.
//!
//! Many wait and few run. What stands far back in line keeps its place in memory and nothing else: what was asked of it,
//! its prompt above all, is in the journal, and is read there when its turn has come.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::JobId;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Begin, Handed, Lifecycle};
use crate::core::{Backoff, Core};
use crate::demand::Demand;
use crate::job::{Job, Outcome, State};
use crate::rooms::Room;
use crate::slots::{Slot, Turn};

/// Lets a job wait that `ahead` others stand before.
pub(crate) fn wait(
    core: &Arc<Core>,
    job: &Job,
    ahead: usize,
    cancel: CancellationToken,
    room: Room,
    turn: Option<Turn>,
) {
    match turn {
        Some(turn) if ahead >= core.config.in_memory => {
            let expires_at = expires_at(job);
            let distant = Distant { core: core.clone(), job: job.id, expires_at, cancel, room, turn };
            core.tasks.spawn(distant.run());
        }
        Some(_) | None => {
            let life = Lifecycle::new(core.clone(), job.clone(), room.user().clone(), cancel);
            core.tasks.spawn(life.run(Begin::Waiting { room, turn }));
        }
    }
}

/// What came of waiting.
pub(super) enum Waited {
    Turn(Slot),
    Over(Outcome),
    Handed,
}

/// A job far back in line.
#[derive(Debug)]
struct Distant {
    core: Arc<Core>,
    job: JobId,
    expires_at: Option<Timestamp>,
    cancel: CancellationToken,
    room: Room,
    turn: Turn,
}

impl Distant {
    /// Waits, then lives.
    async fn run(mut self) {
        let waited = unless_over(&self.core, &self.cancel, self.expires_at, self.turn.come()).await;
        // what waits is many and small, what lives is few and large
        Box::pin(self.live(waited)).await;
    }

    async fn live(self, waited: Waited) {
        let Self { core, job: id, expires_at: _, cancel, room, turn } = self;
        drop(turn);
        if let Waited::Handed = waited {
            return;
        }
        let Ok(job) = read(&core, id).await else { return };
        let mut life = Lifecycle::new(core, job, room.user().clone(), cancel);
        drop(room);
        if life.live(waited).await.is_ok() {
            life.core.live.leave(id);
        }
    }
}

/// Reads a job that waits, however long that takes: a store that is away comes back.
async fn read(core: &Core, id: JobId) -> Result<Job, Handed> {
    let mut pause = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
    loop {
        match core.journal.job(id).await {
            Ok(Some(job)) if job.state == State::Queued => return Ok(job),
            // whoever waits here is the only one who writes this job, unless another process has taken over
            Ok(found) => {
                let state = found.map(|job| job.state.name().as_str());
                error!(job = %id, state, "a job that waits was changed by somebody else, letting go");
                return Err(Handed);
            }
            Err(error) => {
                warn!(job = %id, %error, "cannot read a job whose turn has come, trying again");
                tokio::select! {
                    () = pause.wait() => {}
                    () = core.shutdown.cancelled() => return Err(Handed),
                }
            }
        }
    }
}

impl Lifecycle {
    /// Pauses, then waits for its turn.
    pub(super) async fn wait(&self, pause: Duration) -> Waited {
        let turn = async {
            // a timer takes a tick even for no time at all
            if !pause.is_zero() {
                sleep(pause).await;
            }
            self.core.slots.join(Demand::of(&self.job, &self.user)).come().await
        };
        unless_over(&self.core, &self.cancel, expires_at(&self.job), turn).await
    }

    /// Waits for a turn that it stands in line for.
    pub(super) async fn wait_for(&self, mut turn: Turn) -> Waited {
        unless_over(&self.core, &self.cancel, expires_at(&self.job), turn.come()).await
    }

    pub(super) fn until_start(&self) -> Duration {
        self.job.spec.terms.start_at.map_or(Duration::ZERO, |at| self.core.clock.until(at))
    }
}

/// When a job has waited too long for its first turn.
fn expires_at(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.terms.queue_ttl_s.filter(|_| job.runs == 0)?;
    let since = job.spec.terms.start_at.map_or(job.queued_at, |at| at.max(job.queued_at));
    Some(since.checked_add(Duration::from_secs(ttl.into())).unwrap_or(Timestamp::MAX))
}

async fn unless_over(
    core: &Core,
    cancel: &CancellationToken,
    expires_at: Option<Timestamp>,
    turn: impl Future<Output = Slot>,
) -> Waited {
    let expiry = async {
        match expires_at {
            // few have one, and it is large
            Some(at) => Box::pin(sleep_until(core.clock.instant(at))).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = core.shutdown.cancelled() => Waited::Handed,
        () = cancel.cancelled() => Waited::Over(Outcome::Cancelled),
        () = expiry => Waited::Over(Outcome::Expired),
        slot = turn => Waited::Turn(slot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_may_wait() {
        fn size<F>(_: fn(Distant) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(Distant::run);
        assert!(bytes <= 640, "{bytes} bytes for each job that waits");
    }
}
