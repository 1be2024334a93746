//! How long jobs hold their slots, and from that how long a waiting job still has to wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Moving averages of run times, and of how far each was from the average; recent ones count most.
#[derive(Debug, Default)]
pub(crate) struct RunTimeEstimator(Mutex<Option<Averages>>);

#[derive(Clone, Copy, Debug)]
struct Averages {
    ms: f64,
    error_ms: f64,
}

/// Milliseconds until a job is granted a slot, and by how much that may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub(crate) ms: u64,
    pub(crate) error_ms: u64,
}

/// The weight of the newest run time in the moving averages.
const WEIGHT: f64 = 0.125;

impl RunTimeEstimator {
    /// Adds the time for which one job held its slot.
    pub(crate) fn observe(&self, took: Duration) {
        let took = took.as_secs_f64() * 1000.0;
        let mut averages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *averages = Some(match *averages {
            None => Averages { ms: took, error_ms: took / 2.0 },
            Some(Averages { ms, error_ms }) => Averages {
                ms: ms + (took - ms) * WEIGHT,
                error_ms: error_ms + ((took - ms).abs() - error_ms) * WEIGHT,
            },
        });
    }

    /// The estimate for a job with `ahead` others before it, on `slots` slots that are all taken; `None` before any run
    /// time was seen.
    pub(crate) fn estimate(&self, ahead: usize, slots: usize) -> Option<Estimate> {
        let averages = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
        let turns = (ahead as f64 + 1.0) / slots.max(1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from f64 saturates"
        )]
        let whole = |ms: f64| ms.round() as u64;
        // the errors of many turns cancel each other out in part
        Some(Estimate { ms: whole(averages.ms * turns), error_ms: whole(averages.error_ms * turns.sqrt()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_run_times() {
        let estimator = RunTimeEstimator::default();
        assert_eq!(estimator.estimate(0, 2), None);
        estimator.observe(Duration::from_secs(10));
        assert_eq!(estimator.estimate(0, 2).unwrap().ms, 5_000);
        assert_eq!(estimator.estimate(3, 2).unwrap().ms, 20_000);
        for _ in 0..50 {
            estimator.observe(Duration::from_secs(2));
        }
        let estimate = estimator.estimate(1, 2).unwrap();
        assert!((1_950..2_100).contains(&estimate.ms), "{estimate:?}");
        assert!(estimate.error_ms < 500, "equal run times leave little error: {estimate:?}");
    }
}
