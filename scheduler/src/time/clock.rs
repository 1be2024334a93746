//! The time: the machine's clock, and what has passed whatever it shows.
//!
//! | what | follows | so when the machine's clock is set, or it slept |
//! |---|---|---|
//! | `start_at`, the time in the queue (`queue_ttl_s`), timestamps of events | the machine's clock | they follow within a second |
//! | time limits, deadlines, pauses, grace | elapsed time (`CLOCK_MONOTONIC`) | they stay as long as they were; sleep does not count |
//!
//! The machine's clock is read from time to time and carried forward by the monotonic clock between, so that tests can run an
//! hour in a millisecond. What an earlier process of the platform began is dated by the [`Uptime`], which cannot be set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::warn;
use uuid::Uuid;

/// How often the machine's clock is read.
const READ_EVERY: Duration = Duration::from_millis(250);

/// A difference from the machine's clock that is taken for reading time.
const TOLERANCE: SignedDuration = SignedDuration::from_millis(20);

/// A change of the machine's clock that is worth a line in the log: less is what time servers do.
const NOTABLE: SignedDuration = SignedDuration::from_secs(1);

/// The time. Cheap to clone; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    wall: Timestamp,
    uptime: Uptime,
    since: Instant,
    offset: Arc<Offset>,
}

/// By how much the machine's clock was set since the start.
#[derive(Debug, Default)]
struct Offset {
    micros: AtomicI64,
    changed: Notify,
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
        Self { wall, uptime, since: Instant::now(), offset: Arc::default() }
    }

    /// The time, as the machine's clock shows it.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        let offset = SignedDuration::from_micros(self.offset.micros.load(Ordering::Relaxed));
        self.wall.saturating_add(passed.saturating_add(offset)).unwrap_or(Timestamp::MAX)
    }

    /// How long the machine has been up.
    pub fn uptime(&self) -> Uptime {
        Uptime { boot: self.uptime.boot, passed: self.uptime.passed + self.since.elapsed() }
    }

    /// What has passed since the machine had been up for `then`; `None` if it was started again since.
    pub fn elapsed_since(&self, then: Uptime) -> Option<Duration> {
        let Uptime { boot, passed } = self.uptime();
        passed.checked_sub(then.passed).filter(|_| boot == then.boot)
    }

    /// When the machine had been up for `then`, by this clock; `None` if it was started again since.
    pub fn at(&self, then: Uptime) -> Option<Timestamp> {
        self.now().checked_sub(self.elapsed_since(then)?).ok()
    }

    /// When `at` comes if the machine's clock is not set, for a time limit.
    pub fn instant(&self, at: Timestamp) -> Instant {
        Instant::now() + self.until(at)
    }

    /// How long it is until `at` if the machine's clock is not set; nothing if it has passed.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now())).unwrap_or(Duration::ZERO)
    }

    /// Waits until the machine's clock shows `at`, also when it is set meanwhile. Cancel-safe.
    pub async fn sleep_until(&self, at: Timestamp) {
        loop {
            let changed = self.offset.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let pause = self.until(at);
            if pause.is_zero() {
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = changed => {}
            }
        }
    }

    /// The machine's clock shows `wall` now.
    pub fn set(&self, wall: Timestamp) {
        let jump = wall.duration_since(self.now());
        if jump.abs() < TOLERANCE {
            return;
        }
        if jump.abs() >= NOTABLE {
            warn!(
                jump_s = jump.as_secs_f64(),
                "the machine's clock was set, or it slept; start times follow, time limits do not"
            );
        }
        let micros = i64::try_from(jump.as_micros()).unwrap_or(0);
        self.offset.micros.fetch_add(micros, Ordering::Relaxed);
        self.offset.changed.notify_waiters();
    }

    /// Follows the machine's clock, which `read` shows, for ever.
    pub async fn follow(self, read: fn() -> Timestamp) {
        loop {
            sleep(READ_EVERY).await;
            self.set(read());
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_time_of_day_follows_the_machines_clock() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let clock = Clock::starting_at(at(0), Uptime::default());
        let began = Instant::now();
        let sleeper = clock.clone();
        let asleep = tokio::spawn(async move { sleeper.sleep_until(at(3600)).await });
        tokio::time::sleep(Duration::from_secs(10)).await;
        clock.set(at(3590));
        assert_eq!(clock.now(), at(3590));
        asleep.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 20);

        let sleeper = clock.clone();
        let asleep = tokio::spawn(async move { sleeper.sleep_until(at(3660)).await });
        tokio::time::sleep(Duration::from_secs(10)).await;
        clock.set(at(10));
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert!(!asleep.is_finished(), "the clock was set back by an hour");
        asleep.await.unwrap();
        assert_eq!(clock.now(), at(3660));
        let mark = clock.uptime();
        clock.set(at(0));
        assert_eq!(clock.elapsed_since(mark), Some(Duration::ZERO), "time limits do not follow");
    }
}
