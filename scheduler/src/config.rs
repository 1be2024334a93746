//! The scheduler's settings; the configuration file gives them their values.

use std::time::Duration;

/// Bounds and times of the scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many jobs may hold a container at a time.
    pub max_running: usize,
    /// How many jobs may wait; one more is refused.
    pub max_queued: usize,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How often a container that cannot be started is tried before the job fails.
    pub start_tries: u32,
    /// How often orphaned containers are looked for. One that is seen twice is removed.
    pub reap_every: Duration,
}
