//! How long jobs waited, and how equally admissions were shared.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::shared::statistics::{Latencies, tenths};

/// Percentiles of waits, in milliseconds to a tenth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WaitTimes {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
}

impl WaitTimes {
    pub(super) fn of(waits: &[Duration]) -> Self {
        let waits = Latencies::of(waits);
        let percentile = |percent| tenths(waits.percentile_ms(percent));
        Self { p50: percentile(50.0), p95: percentile(95.0), p99: percentile(99.0) }
    }

    pub(super) fn report(self) -> Value {
        json!({ "p50": self.p50, "p95": self.p95, "p99": self.p99 })
    }
}

impl fmt::Display for WaitTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1}, p95 {:.1}, p99 {:.1} ms", self.p50, self.p95, self.p99)
    }
}

/// Jain's index: 1 if all have the same, 1/n if one of n has everything. (R. Jain, D. Chiu, W. Hawe, "A quantitative
/// measure of fairness and discrimination for resource allocation in shared computer systems", 1984.)
pub(super) fn jain(shares: &[u32]) -> f64 {
    let shares = || shares.iter().copied().map(f64::from);
    let squares: f64 = shares().map(|share| share * share).sum();
    let count: f64 = shares().map(|_| 1.0).sum();
    shares().sum::<f64>().powi(2) / (count * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_is_one_for_equals_and_one_tenth_for_one_of_ten() {
        let near = |index: f64, what: f64| (index - what).abs() < 1e-9;
        assert!(near(jain(&[7; 10]), 1.0));
        assert!(near(jain(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 42]), 0.1));
        assert!(near(jain(&[1, 3]), 0.8));
    }
}
