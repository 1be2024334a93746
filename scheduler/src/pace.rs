//! How long jobs take, for telling those who wait how long it will be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A moving average of run times; recent ones count most.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// One job held its slot for so long.
    pub(crate) fn observe(&self, took: Duration) {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let average = match self.0.load(Ordering::Relaxed) {
            0 => took,
            average => (average.saturating_mul(7).saturating_add(took)) / 8,
        };
        // two jobs that end at once may overwrite each other: it is an estimate
        self.0.store(average, Ordering::Relaxed);
    }

    /// Milliseconds until the turn of somebody with `ahead` before them, on `slots` slots that are all taken.
    pub(crate) fn eta_ms(&self, ahead: usize, slots: usize) -> Option<u64> {
        let average = self.0.load(Ordering::Relaxed);
        let turns = u64::try_from(ahead).unwrap_or(u64::MAX).saturating_add(1);
        (average > 0).then(|| average.saturating_mul(turns) / u64::try_from(slots.max(1)).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_what_was_seen() {
        let pace = Pace::default();
        assert_eq!(pace.eta_ms(0, 2), None);
        pace.observe(Duration::from_secs(10));
        assert_eq!(pace.eta_ms(0, 2), Some(5_000));
        assert_eq!(pace.eta_ms(3, 2), Some(20_000));
        for _ in 0..50 {
            pace.observe(Duration::from_secs(2));
        }
        assert!((1_900..2_200).contains(&pace.eta_ms(1, 2).unwrap()));
    }
}
