//! Containers that are alike and wait: taken from without a lock, by whoever comes first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cgroup::Cgroup;
use super::known::Known;
use super::report::{Arrival, Report, Tally};
use super::sizing::{Bounds, Demand, target};
use crate::{ContainerSpec, Limits, Network, OciRuntime, Parked};

/// What making a container is thought to take until one was made.
const FIRST_GUESS: Duration = Duration::from_millis(300);

/// Room for those that are taken out for a moment while others are put in.
const SPARE: usize = 8;

/// What nobody can change in a container that runs: jobs that agree in it can share a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    image: String,
    network: Network,
    oci_runtime: OciRuntime,
}

/// Whether containers of `spec` can be claimed at all: gVisor does not show in a container that runs what is mounted
/// later, nor the workspace by the numbers that it has on the host.
pub(crate) fn can_wait(spec: &ContainerSpec) -> bool {
    match spec.oci_runtime {
        OciRuntime::Engines | OciRuntime::Runc | OciRuntime::Crun => true,
        OciRuntime::Runsc => false,
    }
}

impl Key {
    pub(crate) fn of(spec: &ContainerSpec) -> Self {
        Self { image: spec.image.clone(), network: spec.network, oci_runtime: spec.oci_runtime }
    }
}

/// A container that waits.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) parked: Parked,
    /// What it may use as long as nobody says otherwise.
    pub(crate) shape: Limits,
    /// Where that can be changed, if we may.
    pub(crate) cgroup: Option<Cgroup>,
    /// Whether a workspace can be mounted into it.
    pub(crate) is_reached: bool,
    /// Which it is; keeps it from being taken for a leftover.
    pub(crate) known: Known,
}

/// All that wait and are alike.
#[derive(Debug)]
pub(crate) struct Stock {
    /// What a new one is made of.
    pub(crate) spec: ContainerSpec,
    /// Rung whenever one may have to be made.
    pub(crate) changed: Notify,
    /// Rung whenever a runner that waited has left.
    pub(crate) left: Arc<Notify>,
    bounds: Bounds,
    slots: ArrayQueue<Slot>,
    /// Starts that make their own container at the moment.
    cold: AtomicUsize,
    pub(crate) making: AtomicUsize,
    pub(crate) state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tally: Tally,
    demand: Demand,
    target: usize,
    arrival: Arrival,
    pub(crate) is_broken: bool,
}

/// A start that makes its own container.
#[derive(Debug)]
pub(crate) struct Cold<'a>(&'a Stock);

impl Stock {
    /// An empty one, for containers of `spec`.
    pub(crate) fn new(spec: ContainerSpec, bounds: Bounds, now: Instant) -> Self {
        let state = State {
            tally: Tally::new(FIRST_GUESS, now),
            demand: Demand::new(now),
            target: bounds.min,
            arrival: Arrival::Unknown,
            is_broken: false,
        };
        Self {
            spec,
            changed: Notify::new(),
            left: Arc::default(),
            bounds,
            slots: ArrayQueue::new(bounds.max + SPARE),
            cold: AtomicUsize::new(0),
            making: AtomicUsize::new(0),
            state: Mutex::new(state),
        }
    }

    /// Takes the one that has waited longest.
    pub(crate) fn take(&self, now: Instant) -> Option<Slot> {
        let slot = self.slots.pop()?;
        self.lock().tally.wait_less(slot.shape.memory_bytes, now);
        Some(slot)
    }

    /// Leaves one here; gives it back if there is no room.
    pub(crate) fn put(&self, slot: Slot, now: Instant) -> Option<Slot> {
        let memory = slot.shape.memory_bytes;
        {
            // counted before anybody can take it
            let mut state = self.lock();
            state.arrival = if slot.is_reached { Arrival::Propagated } else { Arrival::Cold };
            state.tally.wait_more(memory, now);
        }
        let refused = self.slots.push(slot).err();
        if refused.is_some() {
            self.lock().tally.wait_less(memory, now);
        }
        refused
    }

    /// Takes out those whose runner has left. At each moment at most one is missing that should not be.
    pub(crate) fn weed(&self, now: Instant) -> Vec<Slot> {
        let mut weeds = Vec::new();
        for _ in 0..self.slots.len() {
            let Some(slot) = self.take(now) else { break };
            if slot.parked.has_left() {
                weeds.push(slot);
            } else {
                weeds.extend(self.put(slot, now));
            }
        }
        weeds
    }

    pub(crate) fn parked(&self) -> usize {
        self.slots.len()
    }

    /// Somebody comes.
    pub(crate) fn arrival(&self, now: Instant) {
        self.lock().demand.arrival(now);
    }

    /// Somebody makes their own container, until this is dropped: meanwhile the engine has enough to do.
    pub(crate) fn cold(&self) -> Cold<'_> {
        self.cold.fetch_add(1, Ordering::Relaxed);
        self.lock().tally.misses += 1;
        Cold(self)
    }

    pub(crate) fn is_cold(&self) -> bool {
        self.cold.load(Ordering::Relaxed) > 0
    }

    /// How many should wait, where memory is there for `affordable`.
    pub(crate) fn target(&self, affordable: usize, now: Instant) -> usize {
        let mut state = self.lock();
        state.target = target(self.bounds, &state.demand, state.tally.create, state.target, affordable, now);
        state.target
    }

    /// What it has been good for until `now`.
    pub(crate) fn report(&self, now: Instant) -> Report {
        let state = self.lock();
        let tally = &state.tally;
        Report {
            image: self.spec.image.clone(),
            oci_runtime: self.spec.oci_runtime,
            workspaces: state.arrival,
            parked: self.slots.len(),
            target: state.target,
            making: self.making.load(Ordering::Relaxed),
            hits: tally.hits,
            misses: tally.misses,
            quarantined: tally.quarantined,
            wasted_mib_s: tally.wasted_mib_s(now),
            cold_ms_avoided: u64::try_from(tally.avoided.as_millis()).unwrap_or(u64::MAX),
            claim_ms: tally.claim_ms(),
            create_ms: tally.create.as_secs_f64() * 1000.0,
            broken: state.is_broken,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cold<'_> {
    fn drop(&mut self) {
        self.0.cold.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}
