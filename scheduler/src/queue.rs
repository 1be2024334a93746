//! Which job runs next: limits, the fair queue between users, and the slots of the jobs that run.
//!
//! [`permits`] bounds how many jobs wait, [`fair_queue`] orders them, [`usage`] says which limit keeps one from running,
//! [`slots`] grants.

pub(crate) mod demand;
pub(crate) mod fair_queue;
mod grant_reason;
pub(crate) mod limit_key;
pub(crate) mod permits;
pub(crate) mod run_time;
pub(crate) mod slots;
pub(crate) mod usage;

/// Where a job stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePosition {
    /// How many jobs go before it; 0: it is the next.
    pub ahead: usize,
    /// Milliseconds until it is granted a slot, by the run times seen so far; `None` before any was seen.
    pub eta_ms: Option<u64>,
}
