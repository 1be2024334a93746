//! Slots: what runs at a time, and the turns in which jobs get to.
//!
//! A [`Turn`] is a place in line that is given up when it is dropped; a [`Slot`] is given back when it is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use mgx_protocol::JobId;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::demand::{Caps, Demand};
use crate::line::{Decision, Fairness, Line};
use crate::usage::{Binding, Ticket, Usage};

/// What the house allows at a time, and the line for it. Cheap to clone.
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
    /// For how many reasons nobody is given a turn now.
    holds: usize,
    usage: Usage,
    line: Line,
    waiting: HashMap<JobId, oneshot::Sender<Slot>>,
}

/// A place in line.
#[derive(Debug)]
pub(crate) struct Turn {
    job: JobId,
    slots: Slots,
    granted: oneshot::Receiver<Slot>,
}

/// The right to run.
#[derive(Debug)]
pub(crate) struct Slot {
    ticket: Ticket,
    slots: Slots,
    /// Why it was given, unless it was taken without asking.
    decision: Option<Box<Decision>>,
}

/// While this is kept, nobody is given a turn.
#[derive(Debug)]
pub(crate) struct Hold(Slots);

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many go before it.
    pub(crate) ahead: usize,
    /// What keeps it from running even if it were its turn.
    pub(crate) binding: Option<Binding>,
}

impl Slots {
    pub(crate) fn new(caps: Caps, fairness: Fairness, clock: Clock) -> Self {
        let (usage, line) = (Usage::default(), Line::new(fairness));
        let state = State { closed: false, holds: 0, usage, line, waiting: HashMap::new() };
        Self(Arc::new(Inner { state: Mutex::new(state), caps, clock }))
    }

    /// Joins the line.
    pub(crate) fn join(&self, demand: Demand) -> Turn {
        let turn = self.line_up(demand);
        self.grant();
        turn
    }

    /// Joins the line with others, before anybody is given a turn: [`grant`](Self::grant) does that.
    pub(crate) fn line_up(&self, demand: Demand) -> Turn {
        let job = demand.job;
        let (grant, granted) = oneshot::channel();
        let mut state = self.lock();
        state.line.join(demand);
        state.waiting.insert(job, grant);
        drop(state);
        Turn { job, slots: self.clone(), granted }
    }

    /// Takes a slot without waiting, even if there is none: for what runs already.
    pub(crate) fn occupy(&self, demand: Demand) -> Slot {
        let ticket = self.lock().usage.take(demand);
        Slot { ticket, slots: self.clone(), decision: None }
    }

    /// Where a job stands that waits.
    pub(crate) fn standing(&self, job: JobId) -> Option<Standing> {
        let state = self.lock();
        let ahead = state.line.ahead(job)?;
        let binding = state.usage.binding(state.line.demand(job)?, &self.0.caps);
        Some(Standing { ahead, binding })
    }

    /// How many go before a job that waits, and whether it might run now if none did.
    pub(crate) fn place(&self, job: JobId) -> Option<(usize, bool)> {
        let state = self.lock();
        let ahead = state.line.ahead(job)?;
        let may_run = state.usage.obstacle(state.line.demand(job)?, &self.0.caps).is_none();
        Some((ahead, may_run))
    }

    /// How many would go before somebody who joined now.
    pub(crate) fn ahead_of(&self, demand: &Demand) -> usize {
        self.lock().line.ahead_of(demand)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().line.len()
    }

    /// How many jobs hold a slot.
    pub(crate) fn taken(&self) -> usize {
        self.lock().usage.jobs()
    }

    /// Gives no turns until the hold is dropped.
    pub(crate) fn hold(&self) -> Hold {
        self.lock().holds += 1;
        Hold(self.clone())
    }

    /// Whether nobody is given a turn now, whatever is free.
    pub(crate) fn is_held(&self) -> bool {
        self.lock().holds > 0
    }

    /// Gives no more turns.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Gives a slot to everyone in line who may have one, in turn.
    pub(crate) fn grant(&self) {
        loop {
            let mut state = self.lock();
            if state.closed || state.holds > 0 {
                return;
            }
            let State { usage, line, waiting, .. } = &mut *state;
            let next = line.next(usage, &self.0.caps, self.0.clock.now());
            let Some((demand, decision)) = next else { return };
            let job = demand.job;
            let ticket = usage.take(demand);
            let grant = waiting.remove(&job);
            drop(state);
            let slot = Slot { ticket, slots: self.clone(), decision: Some(Box::new(decision)) };
            // one that stopped waiting just now drops the slot, which gives it back
            match grant {
                Some(grant) => drop(grant.send(slot)),
                None => drop(slot),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl Turn {
    /// Waits for the turn. Cancel-safe: dropping the turn leaves the line.
    pub(crate) async fn come(&mut self) -> Slot {
        match (&mut self.granted).await {
            Ok(slot) => slot,
            // the sender lives in the line until it is used, and leaves it only with this turn
            Err(_) => std::future::pending().await,
        }
    }
}

impl Slot {
    /// Why it was given: the first time that somebody asks.
    pub(crate) fn take_decision(&mut self) -> Option<Box<Decision>> {
        self.decision.take()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.line.leave(self.job);
        let grant = state.waiting.remove(&self.job);
        drop(state);
        drop(grant);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().holds -= 1;
        self.0.grant();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().usage.give_back(self.ticket);
        self.slots.grant();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::clock::Uptime;
    use crate::job::Kind;
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
        let (ageing, patience) = (Duration::from_mins(1), Duration::from_secs(30));
        let fairness = Fairness { weights: BTreeMap::new(), ageing, patience };
        Slots::new(Caps::of(1), fairness, Clock::starting_at(Timestamp::UNIX_EPOCH, Uptime::default()))
    }

    #[tokio::test]
    async fn a_slot_goes_to_the_next_in_line_when_it_is_given_back() {
        let slots = slots();
        let first = slots.join(demand(1)).come().await;
        let mut second = slots.join(demand(2));
        let standing = slots.standing(job(2)).unwrap();
        assert_eq!((slots.taken(), standing.ahead), (1, 0));
        assert_eq!(standing.binding.unwrap().holders, [job(1)]);
        drop(first);
        let second = second.come().await;
        assert_eq!((slots.taken(), slots.waiting()), (1, 0));
        drop(second);
        assert_eq!(slots.taken(), 0);
    }

    #[tokio::test]
    async fn a_slot_granted_to_one_who_left_is_not_lost() {
        let slots = slots();
        let first = slots.join(demand(1)).come().await;
        let leaves = slots.join(demand(2));
        let granted_but_never_taken = slots.join(demand(3));
        drop(leaves);
        drop(first);
        assert_eq!(slots.taken(), 1);
        drop(granted_but_never_taken);
        assert_eq!((slots.taken(), slots.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn a_line_that_is_held_for_two_reasons_moves_when_both_are_gone() {
        let slots = slots();
        let (first, second) = (slots.hold(), slots.hold());
        let mut turn = slots.join(demand(1));
        drop(first);
        assert!(slots.is_held());
        assert_eq!((slots.taken(), slots.waiting()), (0, 1));
        drop(second);
        let slot = turn.come().await;
        assert_eq!((slots.taken(), slots.waiting()), (1, 0));
        drop(slot);
    }

    #[tokio::test]
    async fn what_runs_already_overdraws_and_is_paid_back_first() {
        let slots = slots();
        let (a, b) = (slots.occupy(demand(1)), slots.occupy(demand(2)));
        let turn = slots.join(demand(3));
        drop(a);
        assert_eq!((slots.taken(), slots.waiting()), (1, 1));
        drop(b);
        assert_eq!((slots.taken(), slots.waiting()), (1, 0));
        drop(turn);
        assert_eq!(slots.taken(), 0);
    }
}
