//! Keeps the pool from asking an engine that fails again and again: after some failures it waits, longer each time.

use std::time::Duration;

use tokio::time::Instant;

/// So many failures in a row open it.
const PATIENCE: u32 = 3;

/// The first and the longest wait.
const PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// Whether to try.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    until: Option<Instant>,
}

/// What a failure has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing yet.
    Counted,
    /// It is open now, and was not before.
    Opened,
    /// It stays open, for longer.
    StaysOpen,
}

impl Breaker {
    /// How many may be tried at once at `now`, where it would be `usual` if all were well: one, to see whether it is.
    pub(crate) fn allowance(&self, usual: usize, now: Instant) -> usize {
        match self.until {
            None => usual,
            Some(until) if now < until => 0,
            Some(_) => usual.min(1),
        }
    }

    /// Whether it is open, if only by a crack.
    pub(crate) fn is_open(&self) -> bool {
        self.until.is_some()
    }

    /// It went well. Whether that has closed it.
    pub(crate) fn succeeded(&mut self) -> bool {
        std::mem::take(self).is_open()
    }

    /// It went wrong at `now`.
    pub(crate) fn failed(&mut self, now: Instant) -> Noted {
        self.failures = self.failures.saturating_add(1);
        let Some(times) = self.failures.checked_sub(PATIENCE) else { return Noted::Counted };
        let pause = PAUSE[0].saturating_mul(1 << times.min(10)).min(PAUSE[1]);
        match self.until.replace(now + pause) {
            None => Noted::Opened,
            Some(_) => Noted::StaysOpen,
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
        assert_eq!(breaker.failed(now), Noted::Counted);
        assert_eq!(breaker.failed(now), Noted::Counted);
        assert_eq!(breaker.allowance(2, now), 2);
        assert_eq!(breaker.failed(now), Noted::Opened);
        assert_eq!(breaker.allowance(2, now + seconds(1) - Duration::from_millis(1)), 0);
        assert_eq!(breaker.allowance(2, now + seconds(1)), 1, "one, to see");
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.failed(now), Noted::StaysOpen);
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
