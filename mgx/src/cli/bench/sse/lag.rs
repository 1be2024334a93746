//! Times from a container to readers, many of them: each to a hundredth of a millisecond.

use std::fmt;

use serde_json::{Value, json};

/// The longest that is told apart, in hundredths of a millisecond.
const LONGEST: usize = 1_000_000;

/// How often each time was seen.
#[derive(Clone)]
pub(super) struct Lags {
    counts: Vec<u32>,
    total: u64,
}

impl Lags {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { counts: vec![0; LONGEST + 1], total: 0 }
    }

    /// One more, in microseconds.
    pub(super) fn note(&mut self, micros: u32) {
        let at = usize::try_from(micros / 10).unwrap_or(LONGEST).min(LONGEST);
        self.counts[at] += 1;
        self.total += 1;
    }

    /// Milliseconds: the nearest-rank percentile.
    pub(super) fn percentile(&self, percent: u64) -> f64 {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        f64::from(u32::try_from(at.unwrap_or(0)).unwrap_or(u32::MAX)) / 100.0
    }

    pub(super) fn report(&self) -> Value {
        json!({ "p50": self.percentile(50), "p99": self.percentile(99), "samples": self.total })
    }
}

impl fmt::Display for Lags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.percentile(50), self.percentile(99));
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms of {} receipts", self.total)
    }
}

impl fmt::Debug for Lags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut lags = Lags::new();
        (1..=100).for_each(|ms| lags.note(ms * 1000));
        assert_eq!((lags.percentile(50), lags.percentile(99)), (50.0, 99.0));
        lags.note(u32::MAX);
        assert_eq!(lags.report()["p99"], 100.0);
        assert!(lags.percentile(100) > 9_999.0, "ten seconds or more");
    }
}
