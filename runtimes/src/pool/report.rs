//! The numbers of a pool: hits, misses, times, and the memory of warm containers.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::OciRuntime;

/// How many of the last claims the percentiles are computed from.
const MAX_CLAIM_TIMES: usize = 1000;

/// The divisor of the moving average: a new time counts one part in so many.
const AVERAGE_DIVISOR: u32 = 8;

/// The numbers of one subpool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The image of its containers.
    pub image: String,
    /// The OCI runtime of its containers.
    pub oci_runtime: OciRuntime,
    /// How a workspace gets into its warm containers.
    pub workspaces: WorkspaceDelivery,
    /// How many containers are warm.
    pub parked: usize,
    /// How many containers should be warm.
    pub target: usize,
    /// How many are being made.
    pub making: usize,
    /// Starts that claimed a warm container.
    pub hits: u64,
    /// Starts that made their own container.
    pub misses: u64,
    /// Containers that were removed because a claim failed or their runner disconnected.
    pub quarantined: u64,
    /// MiB × seconds for which containers have been warm, each counted with its memory limit.
    pub wasted_mib_s: u64,
    /// Milliseconds that the hits have saved: the average time of making a container, less that of the claim.
    pub cold_ms_avoided: u64,
    /// Milliseconds from a start to the runner's confirmation of the claim, over the last hits.
    pub claim_ms: Percentiles,
    /// Milliseconds that making a container takes, on average.
    pub create_ms: f64,
    /// Whether the pool pauses making containers because it fails.
    pub broken: bool,
}

/// How a workspace gets into a warm container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceDelivery {
    /// It is mounted on the host and appears in the container.
    Propagated,
    /// Not at all: a job with a workspace gets a container that is made for it.
    Cold,
    /// Unknown, because no container has been made.
    Unknown,
}

/// Percentiles of times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them are at most this.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

impl Report {
    /// Whether as many containers are warm as should be.
    pub fn is_settled(&self) -> bool {
        self.parked == self.target && self.making == 0
    }

    /// Hits among all starts; nothing if there were none.
    pub fn hit_rate(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a ratio of counts")]
        let (hits, all) = (self.hits as f64, (self.hits + self.misses) as f64);
        (all > 0.0).then(|| hits / all)
    }
}

/// What one subpool counts.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) quarantined: u64,
    pub(crate) avoided: Duration,
    /// Memory limits of the warm containers together, in bytes.
    warm_bytes: u64,
    /// When that was changed last.
    since: Instant,
    /// Bytes × seconds until then.
    wasted: f64,
    /// How long making a container takes, on average.
    pub(crate) create: Duration,
    claims: VecDeque<Duration>,
}

impl Counters {
    /// Zero everywhere, and an assumption of how long making a container takes.
    pub(crate) fn new(create: Duration, now: Instant) -> Self {
        Self {
            hits: 0,
            misses: 0,
            quarantined: 0,
            avoided: Duration::ZERO,
            warm_bytes: 0,
            since: now,
            wasted: 0.0,
            create,
            claims: VecDeque::with_capacity(MAX_CLAIM_TIMES),
        }
    }

    /// Counts a start that claimed a container within `took`.
    pub(crate) fn hit(&mut self, took: Duration) {
        self.hits += 1;
        self.avoided += self.create.saturating_sub(took);
        if self.claims.len() == MAX_CLAIM_TIMES {
            self.claims.pop_front();
        }
        self.claims.push_back(took);
    }

    /// Counts the time of making a container.
    pub(crate) fn made(&mut self, took: Duration) {
        self.create = (self.create * (AVERAGE_DIVISOR - 1) + took) / AVERAGE_DIVISOR;
    }

    /// A container with this memory limit is warm from `now` on.
    pub(crate) fn add_warm(&mut self, memory_bytes: u64, now: Instant) {
        self.wasted = self.wasted_at(now);
        (self.warm_bytes, self.since) = (self.warm_bytes.saturating_add(memory_bytes), now);
    }

    /// It is not warm any more.
    pub(crate) fn remove_warm(&mut self, memory_bytes: u64, now: Instant) {
        self.wasted = self.wasted_at(now);
        (self.warm_bytes, self.since) = (self.warm_bytes.saturating_sub(memory_bytes), now);
    }

    /// MiB × seconds of warm containers until `now`.
    pub(crate) fn wasted_mib_s(&self, now: Instant) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
        let whole = (self.wasted_at(now) / f64::from(1 << 20)).round() as u64;
        whole
    }

    fn wasted_at(&self, now: Instant) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a sum for people")]
        let bytes = self.warm_bytes as f64;
        self.wasted + bytes * now.saturating_duration_since(self.since).as_secs_f64()
    }

    /// The nearest-rank percentiles of the last claims.
    pub(crate) fn claim_ms(&self) -> Percentiles {
        let mut sorted: Vec<_> = self.claims.iter().copied().collect();
        sorted.sort();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        Percentiles { p50: at(50), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pool_reports_what_it_has_saved_and_what_it_has_cost() {
        let (millis, start) = (Duration::from_millis, Instant::now());
        let mut counters = Counters::new(millis(200), start);
        for took in [3, 5, 4] {
            counters.hit(millis(took));
        }
        assert_eq!(counters.avoided, millis(600 - 12));
        assert_eq!(counters.claim_ms(), Percentiles { p50: 4.0, p99: 5.0 });
        counters.made(millis(280));
        assert_eq!(counters.create, millis(210));
        counters.add_warm(64 << 20, start);
        counters.add_warm(32 << 20, start + millis(500));
        counters.remove_warm(64 << 20, start + millis(1500));
        assert_eq!(counters.wasted_mib_s(start + millis(2500)), 96 + 64);
    }
}
