//! Slots: how many jobs run at a time, and the turns in which they get to.
//!
//! A [`Turn`] is a place in line that is given up when it is dropped; a [`Slot`] is given back when it is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use mgx_agent_runner::JobId;
use tokio::sync::oneshot;

use crate::line::Line;

/// A fixed number of slots, and the line for them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// May be overdrawn: containers that run already when the platform starts are never turned away.
    free: i64,
    closed: bool,
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
    slots: Slots,
}

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        let free = i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            state: Arc::new(Mutex::new(State {
                free,
                closed: false,
                line: Line::default(),
                waiting: HashMap::new(),
            })),
        }
    }

    /// Joins the line.
    pub(crate) fn join(&self, user: &Arc<str>, job: JobId) -> Turn {
        let (grant, granted) = oneshot::channel();
        let mut state = self.lock();
        state.line.join(user, job);
        state.waiting.insert(job, grant);
        drop(state);
        self.grant();
        Turn { job, slots: self.clone(), granted }
    }

    /// Takes a slot without waiting, even if there is none: for what runs already.
    pub(crate) fn occupy(&self) -> Slot {
        self.lock().free -= 1;
        Slot { slots: self.clone() }
    }

    /// How many go before a job that waits.
    pub(crate) fn ahead(&self, job: JobId) -> Option<usize> {
        self.lock().line.ahead(job)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().line.len()
    }

    /// How many slots are free; negative when overdrawn.
    pub(crate) fn free(&self) -> i64 {
        self.lock().free
    }

    /// Gives no more turns.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Gives every free slot to the next in line.
    fn grant(&self) {
        loop {
            let mut state = self.lock();
            if state.closed || state.free <= 0 {
                return;
            }
            let Some(job) = state.line.next() else { return };
            let grant = state.waiting.remove(&job);
            state.free -= 1;
            drop(state);
            // one that stopped waiting just now drops the slot, which gives it back
            if let Some(grant) = grant {
                drop(grant.send(Slot { slots: self.clone() }));
            } else {
                drop(Slot { slots: self.clone() });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
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

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.line.leave(self.job);
        let grant = state.waiting.remove(&self.job);
        drop(state);
        drop(grant);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().free += 1;
        self.slots.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn job(n: u128) -> JobId {
        JobId(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn a_slot_goes_to_the_next_in_line_when_it_is_given_back() {
        let slots = Slots::new(1);
        let first = slots.join(&"a".into(), job(1)).come().await;
        let mut second = slots.join(&"a".into(), job(2));
        assert_eq!((slots.free(), slots.ahead(job(2))), (0, Some(0)));
        drop(first);
        let second = second.come().await;
        assert_eq!((slots.free(), slots.waiting()), (0, 0));
        drop(second);
        assert_eq!(slots.free(), 1);
    }

    #[tokio::test]
    async fn a_slot_granted_to_one_who_left_is_not_lost() {
        let slots = Slots::new(1);
        let first = slots.join(&"a".into(), job(1)).come().await;
        let leaves = slots.join(&"a".into(), job(2));
        let granted_but_never_taken = slots.join(&"a".into(), job(3));
        drop(leaves);
        drop(first);
        assert_eq!(slots.free(), 0);
        drop(granted_but_never_taken);
        assert_eq!((slots.free(), slots.waiting()), (1, 0));
    }

    #[tokio::test]
    async fn what_runs_already_overdraws_and_is_paid_back_first() {
        let slots = Slots::new(1);
        let (a, b) = (slots.occupy(), slots.occupy());
        let turn = slots.join(&"a".into(), job(1));
        drop(a);
        assert_eq!((slots.free(), slots.waiting()), (0, 1));
        drop(b);
        assert_eq!((slots.free(), slots.waiting()), (0, 0));
        drop(turn);
        assert_eq!(slots.free(), 1);
    }
}
