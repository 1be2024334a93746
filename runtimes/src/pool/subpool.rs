//! A subpool: the warm containers of one image, network and OCI runtime. They are taken without a lock, oldest first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cgroup::Cgroup;
use super::owned::OwnedContainer;
use super::report::{Counters, Report, WorkspaceDelivery};
use super::sizing::{Bounds, Demand, target};
use super::workspace_mounts::WorkspaceMounts;
use crate::{ContainerSpec, Limits, Network, OciRuntime, WarmContainer};

/// How long making a container is assumed to take until one was made.
const ASSUMED_CREATE_TIME: Duration = Duration::from_millis(300);

/// Additional room, for containers that are taken out for a moment while others are put in.
const SPARE_ROOM: usize = 8;

/// The parts of a specification that cannot be changed in a running container: jobs with equal ones share a subpool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    image: String,
    network: Network,
    oci_runtime: OciRuntime,
}

/// Whether containers of `spec` can be claimed at all. gVisor does not show later mounts in a running container, nor the
/// workspace under the device and inode numbers of the host.
pub(crate) fn can_be_warm(spec: &ContainerSpec) -> bool {
    match spec.oci_runtime {
        OciRuntime::Engines | OciRuntime::Runc | OciRuntime::Crun => true,
        OciRuntime::Runsc => false,
    }
}

impl PoolKey {
    pub(crate) fn of(spec: &ContainerSpec) -> Self {
        Self { image: spec.image.clone(), network: spec.network, oci_runtime: spec.oci_runtime }
    }
}

/// A warm container that waits for a claim.
#[derive(Debug)]
pub(crate) struct IdleContainer {
    pub(crate) warm: WarmContainer,
    /// The limits that it was made with.
    pub(crate) limits: Limits,
    /// Its control group, if this process may change its limits.
    pub(crate) cgroup: Option<Cgroup>,
    /// Whether a workspace that is mounted over its mount point appears in it.
    pub(crate) sees_mounts: bool,
    /// Its slot; keeps it from being removed as a leftover.
    pub(crate) owned: OwnedContainer,
}

impl IdleContainer {
    /// A container that was made with `limits`, and has its mount point below `mounts`, if it has one.
    pub(crate) fn new(
        owned: OwnedContainer,
        warm: WarmContainer,
        limits: Limits,
        mounts: Option<&WorkspaceMounts>,
    ) -> Self {
        let runner = warm.process();
        let sees_mounts = mounts.is_some_and(|mounts| mounts.are_seen_by(runner));
        let cgroup = runner.and_then(Cgroup::of);
        Self { warm, limits, cgroup, sees_mounts, owned }
    }
}

/// The warm containers with one [`PoolKey`].
#[derive(Debug)]
pub(crate) struct SubPool {
    /// The specification of new containers.
    pub(crate) spec: ContainerSpec,
    /// Notified when a container may have to be made.
    pub(crate) changed: Notify,
    /// Notified when the runner of a warm container has disconnected.
    pub(crate) disconnected: Arc<Notify>,
    bounds: Bounds,
    idle: ArrayQueue<IdleContainer>,
    /// How many jobs are making their own container.
    cold_starts: AtomicUsize,
    /// How many containers are being made.
    pub(crate) making: AtomicUsize,
    pub(crate) state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) counters: Counters,
    demand: Demand,
    target: usize,
    workspaces: WorkspaceDelivery,
    pub(crate) is_broken: bool,
}

/// A job that is making its own container.
#[derive(Debug)]
pub(crate) struct ColdStart<'a>(&'a SubPool);

impl SubPool {
    /// An empty one, for containers of `spec`.
    pub(crate) fn new(spec: ContainerSpec, bounds: Bounds, now: Instant) -> Self {
        let state = State {
            counters: Counters::new(ASSUMED_CREATE_TIME, now),
            demand: Demand::new(now),
            target: bounds.min,
            workspaces: WorkspaceDelivery::Unknown,
            is_broken: false,
        };
        Self {
            spec,
            changed: Notify::new(),
            disconnected: Arc::default(),
            bounds,
            idle: ArrayQueue::new(bounds.max + SPARE_ROOM),
            cold_starts: AtomicUsize::new(0),
            making: AtomicUsize::new(0),
            state: Mutex::new(state),
        }
    }

    /// Takes the container that has been warm for longest.
    pub(crate) fn take(&self, now: Instant) -> Option<IdleContainer> {
        let container = self.idle.pop()?;
        self.lock().counters.remove_warm(container.limits.memory_bytes, now);
        Some(container)
    }

    /// Adds a container; returns it if there is no room.
    pub(crate) fn put(&self, container: IdleContainer, now: Instant) -> Option<IdleContainer> {
        let memory = container.limits.memory_bytes;
        {
            // counted before another task can take it
            let mut state = self.lock();
            state.workspaces =
                if container.sees_mounts { WorkspaceDelivery::Propagated } else { WorkspaceDelivery::Cold };
            state.counters.add_warm(memory, now);
        }
        let refused = self.idle.push(container).err();
        if refused.is_some() {
            self.lock().counters.remove_warm(memory, now);
        }
        refused
    }

    /// Takes out the containers whose runner has disconnected. It checks one at a time, so that at most one sound container is
    /// missing meanwhile.
    pub(crate) fn take_disconnected(&self, now: Instant) -> Vec<IdleContainer> {
        let mut disconnected = Vec::new();
        for _ in 0..self.idle.len() {
            let Some(container) = self.take(now) else { break };
            if container.warm.is_disconnected() {
                disconnected.push(container);
            } else {
                disconnected.extend(self.put(container, now));
            }
        }
        disconnected
    }

    pub(crate) fn warm_count(&self) -> usize {
        self.idle.len()
    }

    /// Counts the start of a job.
    pub(crate) fn arrival(&self, now: Instant) {
        self.lock().demand.arrival(now);
    }

    /// Counts a job that makes its own container, until the value is dropped. Meanwhile the pool makes none.
    pub(crate) fn begin_cold_start(&self) -> ColdStart<'_> {
        self.cold_starts.fetch_add(1, Ordering::Relaxed);
        self.lock().counters.misses += 1;
        ColdStart(self)
    }

    pub(crate) fn has_cold_starts(&self) -> bool {
        self.cold_starts.load(Ordering::Relaxed) > 0
    }

    /// How many containers should be warm if there is memory for `affordable`.
    pub(crate) fn target(&self, affordable: usize, now: Instant) -> usize {
        let mut state = self.lock();
        state.target =
            target(self.bounds, &state.demand, state.counters.create, state.target, affordable, now);
        state.target
    }

    /// The numbers of the subpool at `now`.
    pub(crate) fn report(&self, now: Instant) -> Report {
        let state = self.lock();
        let counters = &state.counters;
        Report {
            image: self.spec.image.clone(),
            oci_runtime: self.spec.oci_runtime,
            workspaces: state.workspaces,
            parked: self.idle.len(),
            target: state.target,
            making: self.making.load(Ordering::Relaxed),
            hits: counters.hits,
            misses: counters.misses,
            quarantined: counters.quarantined,
            wasted_mib_s: counters.wasted_mib_s(now),
            cold_ms_avoided: u64::try_from(counters.avoided.as_millis()).unwrap_or(u64::MAX),
            claim_ms: counters.claim_ms(),
            create_ms: counters.create.as_secs_f64() * 1000.0,
            broken: state.is_broken,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ColdStart<'_> {
    fn drop(&mut self) {
        self.0.cold_starts.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}
