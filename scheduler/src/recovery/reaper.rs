//! Removes containers that belong to no live job, such as a crash leaves behind.

use std::collections::HashSet;
use std::sync::Arc;

use mgx_protocol::SlotId;
use tracing::{info, warn};

use crate::core::Core;

/// Sweeps until the shutdown, beginning with the `suspects` that the recovery has found. A container is an orphan when
/// two sweeps in a row find that it belongs to no live job, so that one which is listed just before its job has marked it,
/// or just after its job has dropped it, is not mistaken for one.
pub(crate) async fn run(core: Arc<Core>, mut suspects: HashSet<SlotId>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(core.config.reap_every) => {}
            () = core.shutdown.cancelled() => return,
        }
        suspects = sweep(&core, suspects).await;
    }
}

/// Removes the containers without a job that were suspects before, and returns the new suspects.
async fn sweep(core: &Arc<Core>, suspects: HashSet<SlotId>) -> HashSet<SlotId> {
    let listed = match core.runtime.list().await {
        Ok(listed) => listed,
        Err(error) => {
            warn!(%error, "cannot look for orphaned containers");
            core.engine.note_error(&error);
            return suspects;
        }
    };
    let without_job =
        listed.into_iter().map(|container| container.slot).filter(|slot| !core.live.has_container(slot));
    let (orphans, suspected): (HashSet<_>, HashSet<_>) =
        without_job.partition(|slot| suspects.contains(slot));
    let mut remaining = suspected;
    for slot in orphans {
        match core.runtime.remove(&slot).await {
            Ok(()) => info!(%slot, reason = "orphaned", "removed a container that belongs to no live job"),
            Err(error) => {
                warn!(%slot, %error, "cannot remove an orphaned container");
                remaining.insert(slot);
            }
        }
    }
    remaining
}
