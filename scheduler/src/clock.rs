//! The time: one wall-clock reading, carried forward by the monotonic clock.
//!
//! Deadlines must not move when somebody sets the clock of the machine, and tests must be able to run an hour in
//! a millisecond. Both follow from reading the wall clock once and counting from there.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that never jumps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    since: Instant,
}

impl Clock {
    /// A clock that shows `wall` now.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { wall, since: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        self.wall.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// When `at` comes, for a timer. A moment that has passed is now.
    pub fn instant(&self, at: Timestamp) -> Instant {
        Instant::now() + self.until(at)
    }

    /// How long it is until `at`; nothing if it has passed.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now())).unwrap_or(Duration::ZERO)
    }
}
