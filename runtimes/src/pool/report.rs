//! What a pool has been good for, in numbers.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::OciRuntime;

/// Over how many of the last claims percentiles are told.
const REMEMBERED: usize = 1000;

/// How much of a new time the average takes in.
const SHARE: u32 = 8;

/// One pool: containers that are alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The image of its containers.
    pub image: String,
    /// What they are separated from the host by.
    pub oci_runtime: OciRuntime,
    /// How a workspace comes into them.
    pub workspaces: Arrival,
    /// How many wait.
    pub parked: usize,
    /// How many should wait.
    pub target: usize,
    /// How many are being made.
    pub making: usize,
    /// Starts that found one waiting.
    pub hits: u64,
    /// Starts that did not, and made their container themselves.
    pub misses: u64,
    /// Containers that were thrown away for some doubt.
    pub quarantined: u64,
    /// MiB × seconds that containers have waited, each counted with the memory that it may use.
    pub wasted_mib_s: u64,
    /// Milliseconds that hits would have waited for a container, less those that their claims took.
    pub cold_ms_avoided: u64,
    /// Milliseconds from a start to the runner's word that it is claimed, over the last hits.
    pub claim_ms: Percentiles,
    /// Milliseconds that making a container takes, on average.
    pub create_ms: f64,
    /// Whether the pool has stopped making containers for a while, because making them fails.
    pub broken: bool,
}

/// How a workspace comes into a container that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// It is mounted on the host and appears there.
    Propagated,
    /// It cannot: a job that brings one gets a container of its own, made with it.
    Cold,
    /// No container has told yet.
    Unknown,
}

/// The middle and the far end of some times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them are at most this.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

impl Report {
    /// Whether as many wait as should.
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

/// What one pool counts.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) quarantined: u64,
    pub(crate) avoided: Duration,
    /// Bytes that wait, since when, and bytes × seconds until then.
    waiting: u64,
    since: Instant,
    wasted: f64,
    /// What making a container takes, on average.
    pub(crate) create: Duration,
    claims: VecDeque<Duration>,
}

impl Tally {
    /// Nothing yet, and a guess at what making a container takes.
    pub(crate) fn new(create: Duration, now: Instant) -> Self {
        Self {
            hits: 0,
            misses: 0,
            quarantined: 0,
            avoided: Duration::ZERO,
            waiting: 0,
            since: now,
            wasted: 0.0,
            create,
            claims: VecDeque::with_capacity(REMEMBERED),
        }
    }

    /// A start found one waiting, and had it after `took`.
    pub(crate) fn hit(&mut self, took: Duration) {
        self.hits += 1;
        self.avoided += self.create.saturating_sub(took);
        if self.claims.len() == REMEMBERED {
            self.claims.pop_front();
        }
        self.claims.push_back(took);
    }

    /// Making a container took this long.
    pub(crate) fn made(&mut self, took: Duration) {
        self.create = (self.create * (SHARE - 1) + took) / SHARE;
    }

    /// A container with so much memory waits from `now` on.
    pub(crate) fn wait_more(&mut self, memory_bytes: u64, now: Instant) {
        self.wasted = self.wasted_at(now);
        (self.waiting, self.since) = (self.waiting.saturating_add(memory_bytes), now);
    }

    /// It waits no longer.
    pub(crate) fn wait_less(&mut self, memory_bytes: u64, now: Instant) {
        self.wasted = self.wasted_at(now);
        (self.waiting, self.since) = (self.waiting.saturating_sub(memory_bytes), now);
    }

    /// MiB × seconds that all have waited until `now`.
    pub(crate) fn wasted_mib_s(&self, now: Instant) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
        let whole = (self.wasted_at(now) / f64::from(1 << 20)).round() as u64;
        whole
    }

    fn wasted_at(&self, now: Instant) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a sum for people")]
        let bytes = self.waiting as f64;
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
    async fn a_pool_tells_what_it_has_saved_and_what_it_has_cost() {
        let (millis, start) = (Duration::from_millis, Instant::now());
        let mut tally = Tally::new(millis(200), start);
        for took in [3, 5, 4] {
            tally.hit(millis(took));
        }
        assert_eq!(tally.avoided, millis(600 - 12));
        assert_eq!(tally.claim_ms(), Percentiles { p50: 4.0, p99: 5.0 });
        tally.made(millis(280));
        assert_eq!(tally.create, millis(210));
        tally.wait_more(64 << 20, start);
        tally.wait_more(32 << 20, start + millis(500));
        tally.wait_less(64 << 20, start + millis(1500));
        assert_eq!(tally.wasted_mib_s(start + millis(2500)), 96 + 64);
    }
}
