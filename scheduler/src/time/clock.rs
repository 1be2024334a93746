//! The time: one wall-clock reading, carried forward by the monotonic clock.
//!
//! Deadlines must not move when the machine's clock is set, and tests must be able to run an hour in a millisecond. Both
//! follow from reading the wall clock once and counting from there. The next process of the platform reads it again: how
//! long a command has run by then is known from the [`Uptime`], which cannot be set.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

/// A clock that never jumps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    uptime: Uptime,
    since: Instant,
}

/// How long the machine has been up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// Which start of the machine this counts from: its `boot_id` (random(4)).
    pub boot: Uuid,
    /// What has passed since by `CLOCK_MONOTONIC`.
    pub passed: Duration,
}

impl Clock {
    /// A clock that shows `wall` now, on a machine that has been up for `uptime`.
    pub fn starting_at(wall: Timestamp, uptime: Uptime) -> Self {
        Self { wall, uptime, since: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        self.wall.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// How long the machine has been up.
    pub fn uptime(&self) -> Uptime {
        Uptime { boot: self.uptime.boot, passed: self.uptime.passed + self.since.elapsed() }
    }

    /// When the machine had been up for `then`, by this clock; `None` if it was started again since.
    pub fn at(&self, then: Uptime) -> Option<Timestamp> {
        let Uptime { boot, passed } = self.uptime();
        let ago = passed.checked_sub(then.passed).filter(|_| boot == then.boot)?;
        self.now().checked_sub(ago).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn elapsed_time_is_known_although_the_clock_was_set_meanwhile() {
        let seconds = Duration::from_secs;
        let boot = Uuid::from_u128(7);
        let before = Clock::starting_at(Timestamp::UNIX_EPOCH, Uptime { boot, passed: seconds(100) });
        tokio::time::sleep(seconds(5)).await;
        let mark = before.uptime();
        tokio::time::sleep(seconds(20)).await;

        let an_hour_on = Timestamp::from_second(3625).unwrap();
        let after = Clock::starting_at(an_hour_on, Uptime { boot, passed: seconds(125) });
        assert_eq!(after.at(mark), Timestamp::from_second(3605).ok());
        let booted =
            Clock::starting_at(an_hour_on, Uptime { boot: Uuid::from_u128(8), passed: seconds(125) });
        assert_eq!(booted.at(mark), None, "nothing is known of an earlier start of the machine");
        let younger = Clock::starting_at(an_hour_on, Uptime { boot, passed: seconds(1) });
        assert_eq!(younger.at(mark), None);
    }
}
