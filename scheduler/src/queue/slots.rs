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
    /// Why it was granted to this job; `None` from the second call on.
    pub(crate) fn take_reason(&mut self) -> Option<Box<GrantReason>> {
        self.reason.take()
    }
}

impl Drop for PendingSlot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.queue.remove(self.job);
        let sender = state.waiting.remove(&self.job);
        drop(state);
        // it may hold a slot, which takes the lock when it is dropped
        drop(sender);
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
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::job::Kind;
    use crate::time::clock::Uptime;
    use jiff::Timestamp;
    use mgx_runtimes::Limits;
    use uuid::Uuid;

    fn job(n: u128) -> JobId {
        JobId(Uuid::from_u128(n))
    }

    fn demand(n: u128) -> Demand {
        Demand {
            job: job(n),
            user: "a".into(),
            session: "s".parse().unwrap(),
            kind: Kind::Agent,
            priority: 5,
            group: None,
            need: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
            since: Timestamp::UNIX_EPOCH,
        }
    }

    fn slots() -> Slots {
        let fairness = Fairness {
            weights: BTreeMap::new(),
            ageing: Duration::from_mins(1),
            overtaking_limit: Duration::from_secs(30),
        };
        Slots::new(Caps::of(1), fairness, Clock::starting_at(Timestamp::UNIX_EPOCH, Uptime::default()))
    }

    #[tokio::test]
    async fn a_returned_slot_goes_to_the_next_job_in_the_queue() {
        let slots = slots();
        let first = slots.request(demand(1)).granted().await;
        let mut second = slots.request(demand(2));
        let standing = slots.standing(job(2)).unwrap();
        assert_eq!((slots.taken(), standing.ahead), (1, 0));
        assert_eq!(standing.binding.unwrap().holders, [job(1)]);
        drop(first);
        let second = second.granted().await;
        assert_eq!((slots.taken(), slots.waiting()), (1, 0));
        drop(second);
        assert_eq!(slots.taken(), 0);
    }

    #[tokio::test]
    async fn a_slot_granted_to_a_job_that_left_the_queue_is_not_lost() {
        let slots = slots();
        let first = slots.request(demand(1)).granted().await;
        let leaves = slots.request(demand(2));
        let granted_but_never_taken = slots.request(demand(3));
        drop(leaves);
        drop(first);
        assert_eq!(slots.taken(), 1);
        drop(granted_but_never_taken);
        assert_eq!((slots.taken(), slots.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn grants_paused_twice_resume_when_both_pauses_end() {
        let slots = slots();
        let (first, second) = (slots.pause_grants(), slots.pause_grants());
        let mut pending = slots.request(demand(1));
        drop(first);
        assert!(slots.is_paused());
        assert_eq!((slots.taken(), slots.waiting()), (0, 1));
        drop(second);
        let slot = pending.granted().await;
        assert_eq!((slots.taken(), slots.waiting()), (1, 0));
        drop(slot);
    }

    #[tokio::test]
    async fn slots_acquired_beyond_the_limit_are_returned_before_a_new_one_is_granted() {
        let slots = slots();
        let (a, b) = (slots.acquire_unchecked(demand(1)), slots.acquire_unchecked(demand(2)));
        let pending = slots.request(demand(3));
        drop(a);
        assert_eq!((slots.taken(), slots.waiting()), (1, 1));
        drop(b);
        assert_eq!((slots.taken(), slots.waiting()), (1, 0));
        drop(pending);
        assert_eq!(slots.taken(), 0);
    }
}
