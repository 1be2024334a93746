//! A circuit breaker: after several failures in a row the pool pauses making containers, longer each time.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// How many failures in a row open the breaker.
const FAILURES_TO_OPEN: u32 = 3;

/// The pauses while it is open.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_max_delay(Duration::from_mins(1))
    .without_max_times();

/// The state of the breaker: closed without a pause, open with one.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures: u32,
    pauses: ExponentialBackoff,
    paused_until: Option<Instant>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 0, pauses: PAUSES.build(), paused_until: None }
    }
}

/// What a failure has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The breaker is still closed.
    None,
    /// The breaker has opened.
    Opened,
    /// The breaker stays open, for longer.
    Extended,
}

impl Breaker {
    /// How many containers may be made at once at `now`: `usual` while the breaker is closed, none during a pause, and one
    /// after it, as a trial.
    pub(crate) fn allowance(&self, usual: usize, now: Instant) -> usize {
        match self.paused_until {
            None => usual,
            Some(until) if now < until => 0,
            Some(_) => usual.min(1),
        }
    }

    /// Whether the breaker is open; after its pause too, until a trial succeeds.
    pub(crate) fn is_open(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Records a success; whether that has closed the breaker.
    pub(crate) fn succeeded(&mut self) -> bool {
        std::mem::take(self).is_open()
    }

    /// Records a failure at `now`.
    pub(crate) fn failed(&mut self, now: Instant) -> Change {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES_TO_OPEN {
            return Change::None;
        }
        let pause = self.pauses.next().unwrap_or_default();
        match self.paused_until.replace(now + pause) {
            None => Change::Opened,
            Some(_) => Change::Extended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_opens_after_three_failures_and_waits_longer_each_time() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let mut breaker = Breaker::default();
        assert_eq!(breaker.failed(now), Change::None);
        assert_eq!(breaker.failed(now), Change::None);
        assert_eq!(breaker.allowance(2, now), 2);
        assert_eq!(breaker.failed(now), Change::Opened);
        assert_eq!(breaker.allowance(2, now + seconds(1) - Duration::from_millis(1)), 0);
        assert_eq!(breaker.allowance(2, now + seconds(1)), 1, "one, to see");
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.failed(now), Change::Extended);
            assert_eq!(breaker.allowance(2, now + seconds(pause - 1)), 0, "{pause}");
            assert_eq!(breaker.allowance(2, now + seconds(pause)), 1, "{pause}");
        }
        assert!(breaker.succeeded());
        assert_eq!(breaker.allowance(2, now), 2);
        assert!(!breaker.succeeded(), "it was closed");
    }

    #[tokio::test]
    async fn failures_count_only_in_a_row() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(now);
            breaker.failed(now);
            breaker.succeeded();
        }
        assert!(!breaker.is_open());
    }
}
