//! The scheduler's settings; the configuration file gives them their values.

use std::time::Duration;

use crate::events::redact::Redactor;
use crate::events::run_log::HistoryLimit;
use crate::queue::demand::Caps;
use crate::queue::fair_queue::Fairness;

/// Bounds and times of the scheduler.
#[derive(Clone, Debug)]
pub struct Config {
    /// What may run at a time.
    pub caps: Caps,
    /// Which job goes first.
    pub fairness: Fairness,
    /// How many jobs may wait; one more is refused.
    pub max_queued: usize,
    /// How many of them may be of one user.
    pub max_queued_per_user: usize,
    /// How many waiting jobs are kept in memory as a whole; those further back in the queue are read from the journal when
    /// they are granted a slot.
    pub in_memory: usize,
    /// The most that a session's log may hold.
    pub history: HistoryLimit,
    /// The most that one job may add of pieces (deltas, lines of output) to its session's log, and the same again of what
    /// matters (starts, tools, messages).
    pub history_per_job: HistoryLimit,
    /// Hides the platform's secrets, and what looks like one, in the events of jobs; those of a job's own environment are
    /// added for each job.
    pub redactor: Redactor,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How long a job waits in all for a model's provider that is away.
    pub max_provider_outage: Duration,
    /// The runtime and the address of its engine, such as `pool:docker at unix:///var/run/docker.sock`: what has a container
    /// there is found by no other runtime.
    pub runtime: String,
    /// Whether jobs whose containers another runtime has are given up, instead of [`Scheduler::start`] refusing to begin.
    ///
    /// [`Scheduler::start`]: crate::Scheduler::start
    pub gives_up_jobs_of_other_runtimes: bool,
    /// How often a container that cannot be started is tried before the job fails.
    pub start_tries: u32,
    /// The pause between two searches for orphaned containers. One that is found twice is removed.
    pub reap_every: Duration,
}
