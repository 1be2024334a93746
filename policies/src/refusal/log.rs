//! One line in the log for a refusal; of a flood of them, a few lines and how many more there were.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use mgx_protocol::JobId;
use tracing::info;

use crate::batch::Submitter;
use crate::refusal::{LimitHit, Refusal};

/// Lines at once.
const BURST: NonZeroU32 = NonZeroU32::new(20).expect("it is not 0");
/// Lines a second, in the long run.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(5).expect("it is not 0");

/// Logs refusals, within bounds.
#[derive(Debug)]
pub(crate) struct RefusalLog<C: Clock> {
    lines: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    left_out: AtomicU64,
}

impl<C: Clock> RefusalLog<C> {
    pub(crate) fn new(clock: C) -> Self {
        let quota = Quota::per_second(PER_SECOND).allow_burst(BURST);
        Self { lines: RateLimiter::direct_with_clock(quota, clock), left_out: AtomicU64::new(0) }
    }

    /// Logs a refusal with what it was decided on, or only counts it.
    pub(crate) fn write(&self, from: &Submitter, job: JobId, refusal: &Refusal) {
        let Some(left_out) = self.line() else { return };
        let LimitHit { limit, used, max } =
            refusal.hit().unwrap_or(LimitHit { limit: "none", used: 0, max: 0 });
        let Submitter { user, session, spent: _ } = from;
        let policy = refusal.policy();
        info!(user, %session, %job, policy, limit, used, max, left_out, "job refused: {refusal}");
    }

    /// Whether there may be another line, and how many were left out since the last.
    fn line(&self) -> Option<u64> {
        if self.lines.check().is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use governor::clock::FakeRelativeClock;

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let clock = FakeRelativeClock::default();
        let log = RefusalLog::new(clock.clone());
        let lines: Vec<_> = (0..1000).filter_map(|_| log.line()).collect();
        assert_eq!(lines, [0; 20]);
        clock.advance(Duration::from_millis(200));
        assert_eq!((log.line(), log.line()), (Some(980), None));
        clock.advance(Duration::from_millis(200));
        assert_eq!(log.line(), Some(1), "each is counted once");
    }
}
