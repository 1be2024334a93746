//! The scheduler's settings; the configuration file gives them their values.

use std::time::Duration;

use crate::redact::Redactor;

pub use crate::demand::{Budget, Caps};
pub use crate::history::HistoryLimit;
pub use crate::line::Fairness;

/// Bounds and times of the scheduler.
#[derive(Clone, Debug)]
pub struct Config {
    /// What may run at a time.
    pub caps: Caps,
    /// Who goes first.
    pub fairness: Fairness,
    /// How many jobs may wait; one more is refused.
    pub max_queued: usize,
    /// How many of them may be of one user.
    pub max_queued_per_user: usize,
    /// How many that wait are kept in memory as a whole; what stands further back in line is read from the journal
    /// when its turn has come.
    pub in_memory: usize,
    /// The most that a session's log may hold.
    pub history: HistoryLimit,
    /// Hides the platform's secrets, and what looks like one, in what jobs say; a job's own are added for each.
    pub redactor: Redactor,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How often a container that cannot be started is tried before the job fails.
    pub start_tries: u32,
    /// How often orphaned containers are looked for. One that is seen twice is removed.
    pub reap_every: Duration,
}
