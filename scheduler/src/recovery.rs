//! After a restart: what the journal holds unfinished is compared with the containers that are there.
//!
//! [`plan`] decides what happens to each, this file carries it out, and `lifecycle/resume.rs` goes on with each job whose
//! command runs. Containers that are left without a job are removed by the [`reaper`].

pub(crate) mod plan;
pub(crate) mod progress;
mod reaper;
pub(crate) mod report;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use mgx_protocol::SlotId;
use mgx_runtimes::Listed;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::core::Core;
use crate::queue::slots::GrantPause;
use crate::time::backoff::Backoff;
use plan::{RecoveryAction, UnfinishedJob};
use progress::{RecoveryProgress, Resumed};
use report::RecoveryReport;

/// How long the removal of containers may delay the first start. What is left by then is an orphan like any other.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(15);

/// How many containers are removed at a time.
const CONCURRENT_REMOVALS: usize = 16;

/// Lists the containers, however long the engine is away; removes those that must be gone before a job starts; and only
/// then ends the `pause` of grants.
pub(crate) async fn run(
    core: Arc<Core>,
    unfinished: Vec<UnfinishedJob>,
    pause: GrantPause,
    progress: Arc<RecoveryProgress>,
    mut results: mpsc::Receiver<Resumed>,
) {
    let (at, began) = (core.clock.now(), Instant::now());
    let recovery = async {
        let (found, engine_was_away) = list(&core).await;
        let listed_after_ms = millis(began.elapsed());
        let actions = plan::plan(&unfinished, &found);
        drop(unfinished);
        progress.set_listed();
        let mut report = RecoveryReport::at(at);
        let (mut clear, mut orphans, mut ended, mut runs) = (Vec::new(), HashSet::new(), HashSet::new(), 0);
        for action in actions {
            match action {
                RecoveryAction::Reattach(_) | RecoveryAction::Lost(_) => runs += 1,
                RecoveryAction::Finalise(job) => {
                    runs += 1;
                    ended.insert(job);
                }
                RecoveryAction::StartOver(_) => report.started_again += 1,
                RecoveryAction::KeepWaiting(_) => report.left_alone += 1,
                RecoveryAction::Clear(slot) => clear.push(slot),
                RecoveryAction::Destroy(slot) => drop(orphans.insert(slot)),
            }
        }
        report.orphans = orphans.len() as u64;
        core.tasks.spawn(reaper::run(core.clone(), orphans));
        report.cleared = remove_all(&core, clear).await;
        drop(pause);
        // a run may have ended, or its container may have been removed, since the list was made
        for _ in 0..runs {
            match results.recv().await {
                Some(Resumed::Reattached(job)) if ended.contains(&job) => report.finalised += 1,
                Some(Resumed::Reattached(_)) => report.reattached += 1,
                Some(Resumed::Lost) => report.lost += 1,
                Some(Resumed::StartedOver) => report.started_again += 1,
                None => {}
            }
        }
        RecoveryReport { took_ms: millis(began.elapsed()), listed_after_ms, engine_was_away, ..report }
    };
    tokio::select! {
        report = recovery => {
            info!(%report, "recovered");
            progress.set_finished(report);
        }
        () = core.shutdown.cancelled() => {}
    }
}

/// The containers that are there, and whether the engine was away at first.
async fn list(core: &Core) -> (Vec<Listed>, bool) {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
    let mut was_away = false;
    loop {
        match core.runtime.list().await {
            Ok(found) => return (found, was_away),
            Err(error) => {
                warn!(%error, "cannot list the containers; no job starts before");
                core.engine.note_error(&error);
            }
        }
        was_away = true;
        backoff.wait().await;
        core.engine.wait_until_available().await;
    }
}

/// Removes containers that must be gone before a job starts. Returns how many are gone.
async fn remove_all(core: &Core, slots: Vec<SlotId>) -> u64 {
    let mut removed = 0;
    let removals =
        futures_util::stream::iter(slots).map(async |slot| match core.runtime.remove(&slot).await {
            Ok(()) => true,
            Err(error) => {
                warn!(%slot, %error, "cannot remove a container; the reaper will try again");
                false
            }
        });
    let all = removals.buffer_unordered(CONCURRENT_REMOVALS).for_each(|is_gone| {
        removed += u64::from(is_gone);
        std::future::ready(())
    });
    if timeout(CLEAR_TIMEOUT, all).await.is_err() {
        warn!("removing containers takes too long; the reaper will remove those that are left");
    }
    removed
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
