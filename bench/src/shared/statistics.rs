//! Percentiles, and how figures are rounded.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Decimal digits that a histogram distinguishes: up to a second, times are exact to 10 µs.
const DIGITS: u8 = 5;

/// The longest time that is recorded, in microseconds: an hour. Longer ones count as an hour.
const MAX_MICROS: u64 = 3_600_000_000;

/// Times, in microseconds.
#[derive(Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// No samples.
    pub(crate) fn new() -> Self {
        Self(Histogram::new(DIGITS).expect("a histogram has up to 5 digits"))
    }

    /// Of `samples`.
    pub(crate) fn of(samples: &[Duration]) -> Self {
        let mut latencies = Self::new();
        for sample in samples {
            latencies.record_micros(u64::try_from(sample.as_micros()).unwrap_or(u64::MAX));
        }
        latencies
    }

    /// Adds a sample.
    pub(crate) fn record_micros(&mut self, micros: u64) {
        self.0.record(micros.min(MAX_MICROS)).expect("the histogram grows to an hour");
    }

    /// The number of samples.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The nearest-rank percentile in milliseconds; 0 if there are no samples.
    pub(crate) fn percentile_ms(&self, percent: f64) -> f64 {
        Duration::from_micros(self.0.value_at_percentile(percent)).as_secs_f64() * 1000.0
    }

    /// `{"p50", "p99"}` in milliseconds, to a hundredth.
    pub(crate) fn report(&self) -> Value {
        json!({ "p50": hundredths(self.percentile_ms(50.0)), "p99": hundredths(self.percentile_ms(99.0)) })
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.2} ms, p99 {:.2} ms", self.percentile_ms(50.0), self.percentile_ms(99.0))
    }
}

/// The nearest-rank percentile of figures that are no times, or may be negative, to a tenth; 0 if there are none.
pub(crate) fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().map_or(0.0, tenths)
}

/// Rounds to a tenth.
pub(crate) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Rounds to a hundredth.
pub(crate) fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        let shown = |samples: &[f64]| format!("{} {}", percentile(samples, 50), percentile(samples, 99));
        assert_eq!(shown(&samples), "50 99");
        assert_eq!(shown(&[3.04]), "3 3");
        assert_eq!(shown(&[1.0, 30.0, 2.0]), "2 30");
        assert_eq!(shown(&[]), "0 0");
    }

    #[test]
    fn percentiles_of_latencies_are_samples() {
        let samples: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(Latencies::of(&samples).to_string(), "p50 100.00 ms, p99 198.00 ms");
        let one = Latencies::of(&[Duration::from_micros(1234)]);
        assert_eq!(one.report(), json!({ "p50": 1.23, "p99": 1.23 }));
    }

    #[test]
    fn a_latency_of_any_length_is_recorded_and_long_ones_stay_precise() {
        let mut latencies = Latencies::new();
        (1..=100).for_each(|ms| latencies.record_micros(ms * 1000));
        assert_eq!(latencies.report(), json!({ "p50": 50.0, "p99": 99.0 }));
        latencies.record_micros(9_876_540);
        assert_eq!((latencies.len(), tenths(latencies.percentile_ms(100.0))), (101, 9876.5));
        latencies.record_micros(u32::MAX.into());
        assert!(latencies.percentile_ms(100.0) > 9_999.0, "ten seconds or more");
    }
}
