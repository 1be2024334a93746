//! Removes containers that no job claims: what a crash left behind.

use std::collections::HashSet;
use std::sync::Arc;

use mgx_protocol::SlotId;
use tracing::{info, warn};

use crate::core::Core;

/// Sweeps for ever, beginning with the `suspects` that the platform's start has found. A container is an orphan when two sweeps in a row find it unclaimed, so that one which is
/// listed before its job has claimed it, or after its job has let go, is not mistaken for one.
pub(crate) async fn run(core: Arc<Core>, mut suspects: HashSet<SlotId>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(core.config.reap_every) => {}
            () = core.shutdown.cancelled() => return,
        }
        suspects = sweep(&core, suspects).await;
    }
}

/// Removes the unclaimed that were suspects before, and returns the suspects of this time.
async fn sweep(core: &Arc<Core>, suspects: HashSet<SlotId>) -> HashSet<SlotId> {
    let listed = match core.runtime.list().await {
        Ok(listed) => listed,
        Err(error) => {
            warn!(%error, "cannot look for orphaned containers");
            core.note(&error);
            return suspects;
        }
    };
    let unclaimed =
        listed.into_iter().map(|container| container.slot).filter(|slot| !core.live.has_claimed(slot));
    let (orphans, fresh): (HashSet<_>, HashSet<_>) = unclaimed.partition(|slot| suspects.contains(slot));
    let mut remaining = fresh;
    for slot in orphans {
        match core.runtime.remove(&slot).await {
            Ok(()) => info!(%slot, reason = "orphaned", "removed a container that no job claims"),
            Err(error) => {
                warn!(%slot, %error, "cannot remove an orphaned container");
                remaining.insert(slot);
            }
        }
    }
    remaining
}
