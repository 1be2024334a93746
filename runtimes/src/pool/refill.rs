//! Refills a subpool: makes containers, and removes those that are too many or have lost their runner.

mod breaker;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mgx_protocol::SlotId;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};
use uuid::Uuid;

use self::breaker::{Breaker, Change};
use super::inner::{PoolInner, SLOT_PREFIX, unwritable};
use super::ledger::Entry;
use super::owned::OwnedContainer;
use super::sizing::Bounds;
use super::subpool::{IdleContainer, PoolKey, SubPool};
use crate::{ContainerSpec, Placement, RuntimeError, RuntimeErrorKind, Workspace};

/// How often the number of warm containers is adjusted when nothing has changed.
const ADJUST_INTERVAL: Duration = Duration::from_secs(1);

/// The subpool for containers of `spec`; a new one gets its task.
pub(super) fn subpool_of(inner: &Arc<PoolInner>, spec: &ContainerSpec) -> Arc<SubPool> {
    let key = PoolKey::of(spec);
    if let Some(subpool) = inner.subpools.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Arc::clone(subpool);
    }
    let mut subpools = inner.subpools.write().unwrap_or_else(PoisonError::into_inner);
    let subpool = subpools.entry(key).or_insert_with(|| {
        let min =
            if PoolKey::of(&inner.config.spec) == PoolKey::of(spec) { inner.config.bounds.min } else { 0 };
        let bounds = Bounds { min, ..inner.config.bounds };
        let subpool = Arc::new(SubPool::new(spec.clone(), bounds, Instant::now()));
        inner.spawn(refill(Arc::clone(inner), Arc::clone(&subpool)));
        subpool
    });
    Arc::clone(subpool)
}

/// Keeps as many containers warm as there should be, until the pool is dissolved; then waits for those that are being
/// made.
async fn refill(inner: Arc<PoolInner>, subpool: Arc<SubPool>) {
    let mut recovered = inner.is_recovered.subscribe();
    tokio::select! {
        // `inner` keeps the sender, so this cannot fail
        _ = recovered.wait_for(|is_recovered| *is_recovered) => {}
        () = inner.dissolving.cancelled() => return,
    }
    let mut breaker = Breaker::default();
    let mut making: JoinSet<Result<(), RuntimeError>> = JoinSet::new();
    let mut adjust = interval(ADJUST_INTERVAL);
    adjust.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        adjust_count(&inner, &subpool, &breaker, &mut making);
        tokio::select! {
            () = subpool.changed.notified() => {}
            () = subpool.disconnected.notified() => {
                for container in subpool.take_disconnected(Instant::now()) {
                    subpool.lock().counters.quarantined += 1;
                    inner.discard_in_background(container.owned, "its runner has disconnected".to_owned());
                }
            }
            Some(made) = making.join_next() => {
                subpool.making.store(making.len(), Ordering::Relaxed);
                record(&subpool, &mut breaker, made.map_err(io::Error::other));
            }
            _ = adjust.tick() => {}
            () = inner.dissolving.cancelled() => break,
        }
    }
    while making.join_next().await.is_some() {}
}

/// Starts to make containers that are missing, or removes one that is too many.
fn adjust_count(
    inner: &Arc<PoolInner>,
    subpool: &Arc<SubPool>,
    breaker: &Breaker,
    making: &mut JoinSet<Result<(), RuntimeError>>,
) {
    let now = Instant::now();
    let memory = subpool.spec.limits.memory_bytes.max(1);
    let free = inner.config.memory_bytes.saturating_sub(inner.owned.memory_bytes());
    let coming = subpool.warm_count() + making.len();
    let affordable = usize::try_from(free / memory).unwrap_or(usize::MAX).saturating_add(coming);
    let target = subpool.target(affordable, now);
    // jobs that make their own container come first
    let allowance = if subpool.has_cold_starts() { 0 } else { breaker.allowance(inner.config.refill, now) };
    while subpool.warm_count() + making.len() < target && making.len() < allowance {
        let slot = new_slot();
        let Some(owned) = inner.owned.take(&slot, memory) else { break };
        making.spawn(make(Arc::clone(inner), Arc::clone(subpool), owned));
    }
    subpool.making.store(making.len(), Ordering::Relaxed);
    if subpool.warm_count() > target
        && let Some(container) = subpool.take(now)
    {
        inner.discard_in_background(container.owned, "no job has asked for it".to_owned());
    }
}

/// Records the outcome of making a container.
fn record(subpool: &SubPool, breaker: &mut Breaker, made: Result<Result<(), RuntimeError>, io::Error>) {
    let image = &subpool.spec.image;
    let error = match made {
        Ok(Ok(())) => {
            if breaker.succeeded() {
                info!(image, "the pool makes containers again");
            }
            subpool.lock().is_broken = false;
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    match breaker.failed(Instant::now()) {
        Change::Opened => warn!(image, error, "the pool cannot make containers; jobs start without it"),
        Change::None | Change::Extended => debug!(image, error, "the pool could not make a container"),
    }
    subpool.lock().is_broken = breaker.is_open();
}

/// Makes a container and puts it into `subpool`.
async fn make(
    inner: Arc<PoolInner>,
    subpool: Arc<SubPool>,
    owned: OwnedContainer,
) -> Result<(), RuntimeError> {
    let began = Instant::now();
    let slot = owned.slot().clone();
    let made = async {
        let refused = |error: io::Error| {
            RuntimeError::new(RuntimeErrorKind::Refused, "cannot make the mount point of a workspace")
                .because(error)
        };
        let mount_point = inner.mounts.as_ref().map(|mounts| mounts.make_mount_point(&slot));
        let mount_point = mount_point.transpose().map_err(refused)?;
        let labels = [("mgx.pool".to_owned(), inner.config.generation.clone())].into();
        let placement =
            Placement { slot: slot.clone(), workspace: mount_point.map(Workspace::MountPoint), labels };
        inner.below.create(&subpool.spec, &placement).await?;
        let entry = |nonce| Entry {
            slot: slot.clone(),
            nonce,
            spec: subpool.spec.clone(),
            generation: inner.config.generation.clone(),
        };
        let warm = inner.below.keep_warm(&slot, Arc::clone(&subpool.disconnected)).await?;
        inner.ledger.park(&entry(warm.nonce())).map_err(unwritable)?;
        Ok(warm)
    };
    match made.await {
        Ok(warm) => {
            subpool.lock().counters.made(began.elapsed());
            let container = IdleContainer::new(owned, warm, subpool.spec.limits, inner.mounts.as_deref());
            inner.put(&subpool, container);
            Ok(())
        }
        Err(error) => {
            inner.discard(owned, "it could not be made").await;
            Err(error)
        }
    }
}

fn new_slot() -> SlotId {
    let id = format!("{SLOT_PREFIX}{}", Uuid::now_v7().as_simple());
    id.parse().expect("letters, digits and a hyphen")
}
