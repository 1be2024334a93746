//! Taking over from the process of the platform that was there before: what the journal holds unfinished is compared
//! with the containers that are there, and for each it is decided what becomes of it.
//!
//! | The journal holds | its container | so |
//! |---|---|---|
//! | running, stopping | runs | [`Reattach`](Decision::Reattach) |
//! | running, stopping | has ended | [`Finalise`](Decision::Finalise) |
//! | running, stopping | is not there | [`Lost`](Decision::Lost): failed, or retried if that was agreed |
//! | admitted, starting | any or none | [`StartAgain`](Decision::StartAgain), and [`Clear`](Decision::Clear) it |
//! | queued | none | [`LeaveAlone`](Decision::LeaveAlone) |
//! | queued | any: the crash came before its start was written down | the same, and [`Clear`](Decision::Clear) it |
//! | any | of another attempt | [`Clear`](Decision::Clear) it |
//! | nothing, or its end | any | [`Destroy`](Decision::Destroy) it, after some grace |
//! | – | not this platform's | never listed, never touched |

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use mgx_protocol::{Attempt, JobId, SlotId};
use mgx_runtimes::Listed;
use serde::{Deserialize, Serialize};
use tokio::sync::{SetOnce, mpsc};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::core::{Backoff, Core};
use crate::job::{Job, State};
use crate::reaper;
use crate::slots::Hold;

/// How long clearing may hold up the first start. What is not gone by then is an orphan like any other.
const CLEAR: Duration = Duration::from_secs(15);

/// How many containers are removed at a time.
const AT_A_TIME: usize = 16;

/// What was taken over from the process before, and how long that took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// When the platform started.
    pub at: Timestamp,
    /// Milliseconds until the last run was taken up.
    pub took_ms: u64,
    /// Milliseconds of them until the engine had said what is there.
    pub listed_after_ms: u64,
    /// Whether the engine was away at first.
    pub engine_was_away: bool,
    /// Jobs whose commands run on and are listened to again.
    pub reattached: u64,
    /// Jobs whose containers had ended meanwhile.
    pub finalised: u64,
    /// Jobs whose containers were gone.
    pub lost: u64,
    /// Jobs whose start was never finished, and begins anew.
    pub started_again: u64,
    /// Jobs that wait as they did.
    pub left_alone: u64,
    /// Containers in which nothing had begun, or that an earlier attempt had left, removed at once.
    pub cleared: u64,
    /// Containers that no job claims; the reaper removes them after some grace.
    pub orphans: u64,
}

/// What becomes of a job that was left unfinished, or of a container that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Its command runs: it is listened to again.
    Reattach(JobId),
    /// Its command ran until its container ended: its end is told.
    Finalise(JobId),
    /// Its command ran, and its container is not there.
    Lost(JobId),
    /// Its container was being made: it gets another, as the next attempt.
    StartAgain(JobId),
    /// It waits as it did.
    LeaveAlone(JobId),
    /// A container in which nothing may run any more goes before anybody is started.
    Clear(SlotId),
    /// A container that no unfinished job has goes after some grace.
    Destroy(SlotId),
}

/// A job that was left unfinished: as much of it as the decision needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    job: JobId,
    attempt: Attempt,
    state: State,
}

impl Left {
    pub(crate) fn of(job: &Job) -> Self {
        Self { job: job.id, attempt: job.attempt, state: job.state }
    }
}

/// Where those who take up a run wait until it is known what is there, and say what came of it.
#[derive(Debug)]
pub(crate) struct Desk {
    listed: SetOnce<()>,
    came: mpsc::Sender<Decision>,
    done: SetOnce<Handover>,
}

impl Desk {
    /// A desk for so many `runs`, and where it is heard what came of each.
    pub(crate) fn new(runs: usize) -> (Self, mpsc::Receiver<Decision>) {
        let (came, of_runs) = mpsc::channel(runs.max(1));
        (Self { listed: SetOnce::new(), came, done: SetOnce::new() }, of_runs)
    }

    /// Resolves when the engine has said which containers are there.
    pub(crate) async fn listed(&self) {
        self.listed.wait().await;
    }

    /// Says what came of taking up a run; once for each.
    pub(crate) fn tell(&self, came: Decision) {
        // there is room for everyone, and after a shutdown nobody listens
        self.came.try_send(came).ok();
    }

    /// What was taken over, as soon as it is.
    pub(crate) async fn done(&self) -> Handover {
        self.done.wait().await.clone()
    }
}

/// Takes over: asks the engine what is there, however long it is away; removes what must not be in the way of a
/// start; and only then lets go of the line.
pub(crate) async fn run(core: Arc<Core>, left: Vec<Left>, hold: Hold, mut came: mpsc::Receiver<Decision>) {
    let (at, began) = (core.clock.now(), Instant::now());
    let all = async {
        let (found, engine_was_away) = found(&core).await;
        let listed_after_ms = millis(began.elapsed());
        let decisions = plan(&left, &found);
        drop(left);
        core.desk.listed.set(()).ok();
        let mut report = Handover::at(at);
        let (mut clear, mut orphans, mut ended, mut runs) = (Vec::new(), HashSet::new(), HashSet::new(), 0);
        for decision in decisions {
            match decision {
                Decision::Reattach(_) | Decision::Lost(_) => runs += 1,
                Decision::Finalise(job) => {
                    runs += 1;
                    ended.insert(job);
                }
                Decision::StartAgain(_) => report.started_again += 1,
                Decision::LeaveAlone(_) => report.left_alone += 1,
                Decision::Clear(slot) => clear.push(slot),
                Decision::Destroy(slot) => drop(orphans.insert(slot)),
            }
        }
        report.orphans = orphans.len() as u64;
        core.tasks.spawn(reaper::run(core.clone(), orphans));
        report.cleared = clear_away(&core, clear).await;
        drop(hold);
        // what really came of each run: it may have ended, or its container may have been removed, since the list
        for _ in 0..runs {
            match came.recv().await {
                Some(Decision::Reattach(job)) if ended.contains(&job) => report.finalised += 1,
                Some(Decision::Reattach(_)) => report.reattached += 1,
                Some(Decision::Lost(_)) => report.lost += 1,
                Some(Decision::StartAgain(_)) => report.started_again += 1,
                Some(
                    Decision::Finalise(_)
                    | Decision::LeaveAlone(_)
                    | Decision::Clear(_)
                    | Decision::Destroy(_),
                )
                | None => {}
            }
        }
        Handover { took_ms: millis(began.elapsed()), listed_after_ms, engine_was_away, ..report }
    };
    tokio::select! {
        report = all => {
            info!(%report, "taken over");
            core.desk.done.set(report).ok();
        }
        () = core.shutdown.cancelled() => {}
    }
}

/// The boot table.
pub(crate) fn plan(left: &[Left], found: &[Listed]) -> Vec<Decision> {
    let mut decisions = Vec::new();
    let mut of_jobs: BTreeMap<JobId, Vec<&Listed>> = BTreeMap::new();
    for container in found {
        match job_of(&container.slot) {
            Some(job) => of_jobs.entry(job).or_default().push(container),
            None => decisions.push(Decision::Destroy(container.slot.clone())),
        }
    }
    for Left { job, attempt, state } in left {
        let containers = of_jobs.remove(job).unwrap_or_default();
        let current = if containers.is_empty() { None } else { Some(SlotId::of(*job, *attempt)) };
        let (own, others): (Vec<_>, Vec<_>) =
            containers.into_iter().partition(|container| Some(&container.slot) == current.as_ref());
        let own = own.first().copied();
        let clear = |container: &Listed| Decision::Clear(container.slot.clone());
        decisions.extend(others.into_iter().map(clear));
        match (state, own) {
            (State::Queued, own) => {
                decisions.extend(own.map(clear));
                decisions.push(Decision::LeaveAlone(*job));
            }
            (State::Admitted | State::Starting, own) => {
                decisions.extend(own.map(clear));
                decisions.push(Decision::StartAgain(*job));
            }
            (State::Running | State::Stopping(_), Some(own)) if own.running => {
                decisions.push(Decision::Reattach(*job));
            }
            (State::Running | State::Stopping(_), Some(_)) => decisions.push(Decision::Finalise(*job)),
            (State::Running | State::Stopping(_), None) => decisions.push(Decision::Lost(*job)),
            (State::Ended(_), own) => {
                decisions.extend(own.map(|own| Decision::Destroy(own.slot.clone())));
            }
        }
    }
    let strays = of_jobs.into_values().flatten();
    decisions.extend(strays.map(|container| Decision::Destroy(container.slot.clone())));
    decisions
}

/// The job that a slot is named after.
fn job_of(slot: &SlotId) -> Option<JobId> {
    slot.as_str().rsplit_once('-')?.0.parse().ok()
}

/// What is there, and whether the engine had to be waited for.
async fn found(core: &Arc<Core>) -> (Vec<Listed>, bool) {
    let mut pause = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
    let mut was_away = false;
    loop {
        match core.runtime.list().await {
            Ok(found) => return (found, was_away),
            Err(error) => {
                warn!(%error, "cannot see which containers are there; starts wait for it");
                core.note(&error);
            }
        }
        was_away = true;
        pause.wait().await;
        core.engine.answers().await;
    }
}

/// Removes what must be gone before somebody is started; how many are gone.
async fn clear_away(core: &Core, slots: Vec<SlotId>) -> u64 {
    let mut cleared = 0;
    let removals =
        futures_util::stream::iter(slots).map(async |slot| match core.runtime.remove(&slot).await {
            Ok(()) => true,
            Err(error) => {
                warn!(%slot, %error, "cannot remove a container that is in the way; it is an orphan now");
                false
            }
        });
    let all = removals.buffer_unordered(AT_A_TIME).for_each(|is_gone| {
        cleared += u64::from(is_gone);
        std::future::ready(())
    });
    if timeout(CLEAR, all).await.is_err() {
        warn!("clearing away takes too long; what is left are orphans now");
    }
    cleared
}

impl Handover {
    fn at(at: Timestamp) -> Self {
        Self {
            at,
            took_ms: 0,
            listed_after_ms: 0,
            engine_was_away: false,
            reattached: 0,
            finalised: 0,
            lost: 0,
            started_again: 0,
            left_alone: 0,
            cleared: 0,
            orphans: 0,
        }
    }
}

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reattached, finalised, lost, started_again, left_alone, cleared, orphans, .. } = self;
        write!(
            f,
            "jobs: {reattached} go on, {finalised} had ended, {lost} lost, {started_again} started again, "
        )?;
        write!(f, "{left_alone} wait; containers: {cleared} cleared away, {orphans} orphaned; ")?;
        write!(f, "in {} ms", self.took_ms)?;
        if self.engine_was_away {
            write!(f, ", of which {} ms until the engine answered", self.listed_after_ms)?;
        }
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
