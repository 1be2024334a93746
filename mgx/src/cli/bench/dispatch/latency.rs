//! How long something took, many times over.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::bench::ms;

/// The middle and the slow end of many samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latency {
    p50: f64,
    p99: f64,
}

impl Latency {
    /// Of `samples`, of which there is at least one.
    pub(super) fn of(samples: &[Duration]) -> Self {
        let mut sorted: Vec<f64> = samples.iter().copied().map(ms).collect();
        sorted.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).map_or(f64::NAN, |value| (value * 100.0).round() / 100.0)
        };
        Self { p50: rank(50), p99: rank(99) }
    }

    pub(super) fn report(self) -> Value {
        json!({ "p50": self.p50, "p99": self.p99 })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.2} ms, p99 {:.2} ms", self.p50, self.p99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(Latency::of(&samples).to_string(), "p50 100.00 ms, p99 198.00 ms");
        assert_eq!(Latency::of(&[Duration::from_micros(1234)]).report(), json!({ "p50": 1.23, "p99": 1.23 }));
    }
}
