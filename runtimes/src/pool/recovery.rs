//! Recovery: adopts the warm containers of an earlier process of the platform, and removes what else it has left.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mgx_protocol::SlotId;
use tracing::{debug, info};

use super::inner::{PoolInner, is_of_pool, unreadable};
use super::ledger::Entry;
use super::refill::subpool_of;
use super::subpool::IdleContainer;
use crate::{ContainerSpec, RuntimeError, RuntimeErrorKind};

/// How often leftovers are searched for.
const SEARCH_INTERVAL: Duration = Duration::from_secs(30);

/// The pause before an engine that is away is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How many containers are adopted at a time.
const MAX_ADOPTIONS: usize = 8;

/// Adopts the warm containers of an earlier process, and then searches for leftovers from time to time.
pub(super) async fn recover(inner: &Arc<PoolInner>) {
    let adopted = loop {
        match adopt(inner).await {
            Ok(adopted) => break adopted,
            Err(error) => debug!(%error, "the pool waits for the engine"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    };
    if adopted > 0 {
        info!(adopted, "the pool has adopted the warm containers of an earlier process");
    }
    inner.is_recovered.send_replace(true);
    loop {
        if let Err(error) = remove_leftovers(inner).await {
            debug!(%error, "the pool cannot search for leftovers");
        }
        tokio::time::sleep(SEARCH_INTERVAL).await;
    }
}

/// Puts every warm container of the ledger into its subpool if it runs and its runner is the same one, and removes the
/// others; how many were adopted.
async fn adopt(inner: &Arc<PoolInner>) -> Result<usize, RuntimeError> {
    let listed = inner.below.list().await?;
    let running: HashSet<_> =
        listed.into_iter().filter(|listed| listed.running).map(|listed| listed.slot).collect();
    let parked = inner.ledger.all_parked().map_err(unreadable)?;
    let adopting = stream::iter(parked).map(|entry| adopt_one(inner, entry, &running));
    let adopted = adopting.buffer_unordered(MAX_ADOPTIONS).collect::<Vec<_>>().await;
    Ok(adopted.into_iter().filter(|adopted| *adopted).count())
}

async fn adopt_one(inner: &Arc<PoolInner>, entry: Entry, running: &HashSet<SlotId>) -> bool {
    let Some(owned) = inner.owned.take(&entry.slot, entry.spec.limits.memory_bytes) else { return false };
    let why = if !running.contains(&entry.slot) {
        "it has ended".to_owned()
    } else if entry.generation != inner.config.generation {
        "it was made from another build of the image".to_owned()
    } else {
        // not for the others: a subpool makes containers
        let spec = ContainerSpec { limits: inner.config.spec.limits, ..entry.spec.clone() };
        let subpool = subpool_of(inner, &spec);
        match inner.below.reattach(&entry.slot).await {
            Err(error) if error.kind() == RuntimeErrorKind::NotInvoked => {
                match inner.below.keep_warm(&entry.slot, Arc::clone(&subpool.disconnected)).await {
                    Ok(warm) if warm.nonce() == entry.nonce => {
                        let mounts = inner.mounts.as_deref();
                        inner.put(&subpool, IdleContainer::new(owned, warm, entry.spec.limits, mounts));
                        return true;
                    }
                    Ok(_) => "another runner answers".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
            Ok(_) => "it has an invocation".to_owned(),
        }
    };
    inner.discard(owned, &why).await;
    false
}

/// Removes containers and mounts of the pool that are neither owned by this process nor claimed, and claims without a
/// container.
async fn remove_leftovers(inner: &Arc<PoolInner>) -> Result<(), RuntimeError> {
    let claimed_before = inner.ledger.all_claims().map_err(unreadable)?;
    let listed: HashSet<_> = inner.below.list().await?.into_iter().map(|listed| listed.slot).collect();
    let mounts = inner.mounts.as_ref().and_then(|mounts| mounts.all().ok()).unwrap_or_default();
    let unknown: HashSet<_> = listed
        .iter()
        .cloned()
        .chain(mounts)
        .filter(|slot| is_of_pool(slot) && !inner.owned.contains(slot))
        .collect();
    // read last: a claimed container is released by its owner only after the claim is in the ledger
    let claims = inner.ledger.all_claims().map_err(unreadable)?;
    for slot in unknown.into_iter().filter(|slot| !claims.contains_key(slot)) {
        let Some(owned) = inner.owned.take(&slot, 0) else { continue };
        inner.discard(owned, "it is in no ledger").await;
    }
    // a claim is written after its container was made, so the container of a claim that is not listed is gone
    for (slot, job) in claimed_before.iter().filter(|(slot, _)| !listed.contains(slot)) {
        if claims.get(slot) == Some(job) {
            inner.clear(slot).await;
            inner.ledger.release(job);
        }
    }
    Ok(())
}
