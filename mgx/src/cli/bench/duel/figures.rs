//! What a duel came to: numbers, and nothing of how they are shown.

use mgx_runtimes::pool::report::Report;
use serde_json::{Map, Value, json};

use super::contender::Laps;
use super::lap::{Lap, Stage};
use super::trace::Mode;
use crate::cli::bench::percentile;
use crate::cli::bench::slots::Memory;

/// What a duel came to.
#[derive(Debug)]
pub(super) struct Figures {
    /// What chance began with.
    pub(super) seed: u64,
    /// Jobs that came by chance, a second.
    pub(super) rate: f64,
    /// Each runtime.
    pub(super) sides: Vec<Side>,
}

/// One runtime.
#[derive(Debug)]
pub(super) struct Side {
    /// Its name.
    pub(super) runtime: &'static str,
    /// What a container that waits holds, if the runtime has containers.
    pub(super) memory: Option<Memory>,
    /// What the pool says of itself, if it is one.
    pub(super) pool: Option<Report>,
    /// Its jobs, mode by mode.
    pub(super) rows: Vec<Row>,
}

/// Jobs of one mode.
#[derive(Debug)]
pub(super) struct Row {
    /// How they came.
    pub(super) mode: Mode,
    /// Which of them.
    pub(super) which: Which,
    /// Milliseconds from the request to the first event, in order of their length.
    pub(super) tti_ms: Vec<f64>,
    /// Milliseconds from the request to the beginning of each stage: the median of each.
    pub(super) at_ms: [f64; Stage::ALL.len()],
    /// How many jobs failed.
    pub(super) errors: usize,
}

/// Which jobs a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Those that found a container waiting.
    Hit,
    /// Those of a pool that did not.
    Miss,
}

impl Which {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Hit => "hit",
            Self::Miss => "miss",
        }
    }
}

impl Figures {
    /// The modes, in the order in which they were measured.
    pub(super) fn modes(&self) -> Vec<Mode> {
        let mut modes = Vec::new();
        for row in self.sides.iter().flat_map(|side| &side.rows) {
            if !modes.contains(&row.mode) {
                modes.push(row.mode);
            }
        }
        modes
    }

    /// The rows of `mode`, with the name of their runtime.
    pub(super) fn rows(&self, mode: Mode) -> impl Iterator<Item = (&'static str, &Row)> {
        let of = move |side: &'_ Side| -> &'static str { side.runtime };
        self.sides.iter().flat_map(move |side| {
            side.rows.iter().filter(move |row| row.mode == mode).map(move |row| (of(side), row))
        })
    }

    /// As JSON.
    pub(super) fn report(&self) -> Value {
        let runtimes: Map<String, Value> =
            self.sides.iter().map(|side| (side.runtime.to_owned(), side.report())).collect();
        json!({ "seed": self.seed, "arrivals_per_s": self.rate, "runtimes": runtimes })
    }
}

impl Side {
    /// Takes in the jobs of one mode; of a pool, hits and misses apart too.
    pub(super) fn add(&mut self, mode: Mode, laps: &Laps) {
        self.rows.push(Row::of(mode, Which::All, &laps.done.iter().collect::<Vec<_>>(), laps.errors));
        let (hits, misses): (Vec<_>, Vec<_>) = laps.done.iter().partition(|lap| lap.is_hit);
        if !self.runtime.starts_with("pool:") {
            return;
        }
        for (which, laps) in [(Which::Hit, hits), (Which::Miss, misses)] {
            if !laps.is_empty() {
                self.rows.push(Row::of(mode, which, &laps, 0));
            }
        }
    }

    /// The last mode in one line.
    pub(super) fn summary(&self) -> String {
        let Some(row) = self.rows.iter().rfind(|row| row.which == Which::All) else { return String::new() };
        let (p50, p99) = (row.percentile(50), row.percentile(99));
        format!("{} jobs, {} errors, tti p50 {p50:.1} ms, p99 {p99:.1} ms", row.tti_ms.len(), row.errors)
    }

    fn report(&self) -> Value {
        let mut report = json!({ "slot_mib": self.memory.map(Memory::report) });
        if let Some(pool) = &self.pool {
            report["hit_rate"] = json!(pool.hit_rate());
            report["claim_ms"] = json!({ "p50": pool.claim_ms.p50, "p99": pool.claim_ms.p99 });
        }
        for row in &self.rows {
            report[row.mode.name()][row.which.name()] = row.report();
        }
        report
    }
}

impl Row {
    fn of(mode: Mode, which: Which, laps: &[&Lap], errors: usize) -> Self {
        let mut tti_ms: Vec<f64> = laps.iter().map(|lap| lap.tti_ms).collect();
        tti_ms.sort_by(f64::total_cmp);
        let median =
            |stage: usize| percentile(&laps.iter().map(|lap| lap.at_ms[stage]).collect::<Vec<_>>(), 50);
        Self { mode, which, tti_ms, at_ms: std::array::from_fn(median), errors }
    }

    /// From the request to the first event.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.tti_ms, percent)
    }

    /// How long each stage lasts, in milliseconds; the last does not.
    pub(super) fn stages(&self) -> impl Iterator<Item = (Stage, f64)> {
        let lasts = self.at_ms.windows(2).map(|pair| pair[1] - pair[0]);
        Stage::ALL.into_iter().zip(lasts.collect::<Vec<_>>())
    }

    /// From the request until nothing is left, in milliseconds.
    pub(super) fn whole(&self) -> f64 {
        self.at_ms[Stage::ALL.len() - 1]
    }

    fn report(&self) -> Value {
        let at: Map<String, Value> = Stage::ALL
            .iter()
            .zip(self.at_ms)
            .skip(1)
            .map(|(stage, at)| (stage.name().to_owned(), json!(at)))
            .collect();
        json!({
            "n": self.tti_ms.len(),
            "errors": self.errors,
            "tti_ms": { "p50": self.percentile(50), "p90": self.percentile(90), "p99": self.percentile(99) },
            "at_ms": at,
        })
    }
}

/// Numbers that are always the same, for what shows them.
#[cfg(test)]
pub(super) fn fixed() -> Figures {
    let lap = |start: f64, is_hit: bool| Lap {
        tti_ms: start + 6.0,
        at_ms: [0.0, 1.0, 2.0, start, start + 1.0, start + 6.0, start + 20.0, start + 80.0],
        is_hit,
    };
    let side = |runtime, memory, laps: Vec<Lap>| {
        let mut side = Side { runtime, memory, pool: None, rows: Vec::new() };
        for mode in [Mode::Poisson, Mode::Burst] {
            side.add(mode, &Laps { done: laps.clone(), errors: usize::from(mode == Mode::Burst) });
        }
        side
    };
    let memory = Some(Memory { container_mib: 0.9, keeper_mib: 3.1 });
    let cold = (0..8).map(|n| lap(200.0 + f64::from(n) * 5.0, false)).collect();
    let warm =
        (0..8).map(|n| if n < 6 { lap(4.0 + f64::from(n), true) } else { lap(240.0, false) }).collect();
    let sides =
        vec![side("docker", memory, cold), side("pool:docker", memory, warm), side("null", None, vec![])];
    Figures { seed: 1, rate: 2.0, sides }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_misses_of_a_pool_stand_apart() {
        let report = fixed().report();
        let of = |runtime: &str, which: &str| report["runtimes"][runtime]["poisson"][which]["n"].clone();
        assert_eq!((of("docker", "all"), of("docker", "hit")), (json!(8), Value::Null));
        assert_eq!((of("pool:docker", "hit"), of("pool:docker", "miss")), (json!(6), json!(2)));
        let hit = &report["runtimes"]["pool:docker"]["burst"]["hit"];
        insta::assert_snapshot!(hit, @r#"{"at_ms":{"admitted":1.0,"create":2.0,"finish":26.0,"first_event":12.0,"invoke":7.0,"ready":6.0,"removed":86.0},"errors":0,"n":6,"tti_ms":{"p50":12.0,"p90":15.0,"p99":15.0}}"#);
    }
}
