//! Slots: the jobs that may run at a time, and the queue of those that wait for one.
//!
//! A [`PendingSlot`] leaves the queue when it is dropped; a [`Slot`] is returned when it is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use mgx_protocol::JobId;
use tokio::sync::oneshot;

use super::demand::{Caps, Demand};
use super::fair_queue::{FairQueue, Fairness};
use super::grant_reason::GrantReason;
use super::usage::{BlockingLimit, ReservationId, Usage};
use crate::time::clock::Clock;

/// The slots that the limits allow, and the queue for them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    caps: Caps,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    closed: bool,
    /// How many [`GrantPause`]s are held.
    pauses: usize,
    usage: Usage,
    queue: FairQueue,
    waiting: HashMap<JobId, oneshot::Sender<Slot>>,
}

/// A job's place in the queue for a slot.
#[derive(Debug)]
pub(crate) struct PendingSlot {
    job: JobId,
    slots: Slots,
    receiver: oneshot::Receiver<Slot>,
}

/// The right to run.
#[derive(Debug)]
pub(crate) struct Slot {
    reservation: ReservationId,
    slots: Slots,
    /// Why it was granted to this job, unless it was acquired unchecked.
    reason: Option<Box<GrantReason>>,
}

/// As long as this is held, no slot is granted.
#[derive(Debug)]
pub(crate) struct GrantPause(Slots);

/// Where a waiting job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many jobs go before it.
    pub(crate) ahead: usize,
    /// The limit that would keep it from running even if it were the first.
    pub(crate) binding: Option<BlockingLimit>,
}

impl Slots {
    pub(crate) fn new(caps: Caps, fairness: Fairness, clock: Clock) -> Self {
        let (usage, queue) = (Usage::default(), FairQueue::new(fairness));
        let state = State { closed: false, pauses: 0, usage, queue, waiting: HashMap::new() };
        Self(Arc::new(Inner { state: Mutex::new(state), caps, clock }))
    }

    /// Adds a job to the queue, and grants every slot that may be granted.
    pub(crate) fn request(&self, demand: Demand) -> PendingSlot {
        let pending = self.enqueue(demand);
        self.grant();
        pending
    }

    /// Adds a job to the queue and grants nothing: for several that are added before [`grant`](Self::grant) is called.
    pub(crate) fn enqueue(&self, demand: Demand) -> PendingSlot {
        let job = demand.job;
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.queue.add(demand);
        state.waiting.insert(job, sender);
        drop(state);
        PendingSlot { job, slots: self.clone(), receiver }
    }

    /// A slot for a job that runs already, even beyond the limits.
    pub(crate) fn acquire_unchecked(&self, demand: Demand) -> Slot {
        let reservation = self.lock().usage.reserve(demand);
        Slot { reservation, slots: self.clone(), reason: None }
    }

    /// Where a waiting job stands; `None` if it is not in the queue.
    pub(crate) fn standing(&self, job: JobId) -> Option<Standing> {
        let state = self.lock();
        let ahead = state.queue.ahead(job)?;
        let binding = state.usage.blocking_limit(state.queue.demand(job)?, &self.0.caps);
        Some(Standing { ahead, binding })
    }

    /// How many jobs go before a waiting job, and whether it could run now if none did.
    pub(crate) fn position(&self, job: JobId) -> Option<(usize, bool)> {
        let state = self.lock();
        let ahead = state.queue.ahead(job)?;
        let may_run = state.usage.reached_limit(state.queue.demand(job)?, &self.0.caps).is_none();
        Some((ahead, may_run))
    }

    /// How many jobs would go before one that was added now.
    pub(crate) fn ahead_of(&self, demand: &Demand) -> usize {
        self.lock().queue.ahead_of(demand)
    }

    /// How many jobs are in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// How many jobs hold a slot.
    pub(crate) fn taken(&self) -> usize {
        self.lock().usage.jobs()
    }

    /// Grants no slots until the pause is dropped.
    pub(crate) fn pause_grants(&self) -> GrantPause {
        self.lock().pauses += 1;
        GrantPause(self.clone())
    }

    /// Whether no slots are granted now, however many are free.
    pub(crate) fn is_paused(&self) -> bool {
        self.lock().pauses > 0
    }

    /// Grants no more slots.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Grants a slot to every waiting job that may run now, in the order of the queue.
    pub(crate) fn grant(&self) {
        loop {
            let mut state = self.lock();
            if state.closed || state.pauses > 0 {
                return;
            }
            let State { usage, queue, waiting, .. } = &mut *state;
            let next = queue.next(usage, &self.0.caps, self.0.clock.now());
            let Some((demand, reason)) = next else { return };
            let job = demand.job;
            let reservation = usage.reserve(demand);
            let sender = waiting.remove(&job);
            drop(state);
            let slot = Slot { reservation, slots: self.clone(), reason: Some(Box::new(reason)) };
            // a job that stopped waiting just now drops the slot, which returns it
            match sender {
                Some(sender) => drop(sender.send(slot)),
                None => drop(slot),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl PendingSlot {
    /// Waits for the slot. Cancel-safe.
    pub(crate) async fn granted(&mut self) -> Slot {
        match (&mut self.receiver).await {
            Ok(slot) => slot,
            // the sender stays in `waiting` until it is used or this is dropped
            Err(_) => std::future::pending().await,
        }
    }
}

impl Slot {
    /// Its job has ended, and its container is still there: from now on it counts against the limits of the host alone, and
    /// not against those of the job's user, session, kind or group.
    pub(crate) fn keep_for_container(&self) {
        self.slots.lock().usage.keep_for_container(self.reservation);
        self.slots.grant();
    }

    /// Why it was granted to this job; `None` from the second call on.
    pub(crate) fn take_reason(&mut self) -> Option<Box<GrantReason>> {
        self.reason.take()
    }
}

impl Drop for PendingSlot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        let was_waiting = state.queue.remove(self.job);
        let sender = state.waiting.remove(&self.job);
        drop(state);
        // it may hold a slot, which takes the lock when it is dropped
        drop(sender);
        // others may have waited for this one, which was not to be overtaken
        if was_waiting {
            self.slots.grant();
        }
    }
}

impl Drop for GrantPause {
    fn drop(&mut self) {
        self.0.lock().pauses -= 1;
        self.0.grant();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().usage.release(self.reservation);
        self.slots.grant();
    }
}

#[cfg(test)]
mod tests;
