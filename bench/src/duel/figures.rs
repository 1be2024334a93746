//! The figures of a duel.

use mgx_runtimes::pool::report::Report;
use serde_json::{Map, Value, json};

use super::platform::ModeOutcome;
use super::stages::{JobStages, Stage};
use super::trace::Mode;
use crate::shared::container_memory::ContainerMemory;
use crate::shared::statistics::percentile;

/// The figures of a duel.
#[derive(Debug)]
pub(super) struct Figures {
    /// The seed of the Poisson process.
    pub(super) seed: u64,
    /// Jobs a second of the Poisson process.
    pub(super) rate: f64,
    /// By runtime.
    pub(super) runtimes: Vec<RuntimeFigures>,
}

/// The figures of one runtime.
#[derive(Debug)]
pub(super) struct RuntimeFigures {
    /// Its name.
    pub(super) name: &'static str,
    /// The memory of a waiting container, if the runtime has containers.
    pub(super) memory: Option<ContainerMemory>,
    /// The figures of its warm pool, if it has one.
    pub(super) pool: Option<Report>,
    /// By mode, and for a pool by hit and miss.
    pub(super) rows: Vec<ModeFigures>,
}

/// The figures of jobs of one mode.
#[derive(Debug)]
pub(super) struct ModeFigures {
    /// How they were submitted.
    pub(super) mode: Mode,
    /// Which of them.
    pub(super) which: Which,
    /// Milliseconds from the request to the first event, in ascending order.
    pub(super) tti_ms: Vec<f64>,
    /// Milliseconds from the request to the beginning of each stage: the median of each.
    pub(super) at_ms: [f64; Stage::ALL.len()],
    /// The number of jobs that failed.
    pub(super) errors: usize,
}

/// Which jobs of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Those that claimed a container from the pool.
    Hit,
    /// Those for which the pool had none.
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
        for row in self.runtimes.iter().flat_map(|runtime| &runtime.rows) {
            if !modes.contains(&row.mode) {
                modes.push(row.mode);
            }
        }
        modes
    }

    /// The rows of `mode`, with the name of their runtime.
    pub(super) fn rows(&self, mode: Mode) -> impl Iterator<Item = (&'static str, &ModeFigures)> {
        let of = move |runtime: &'_ RuntimeFigures| -> &'static str { runtime.name };
        self.runtimes.iter().flat_map(move |runtime| {
            runtime.rows.iter().filter(move |row| row.mode == mode).map(move |row| (of(runtime), row))
        })
    }

    /// The report, as JSON.
    pub(super) fn report(&self) -> Value {
        let runtimes: Map<String, Value> =
            self.runtimes.iter().map(|runtime| (runtime.name.to_owned(), runtime.report())).collect();
        json!({ "seed": self.seed, "arrivals_per_s": self.rate, "runtimes": runtimes })
    }
}

impl RuntimeFigures {
    /// Adds the jobs of one mode; for a pool, also hits and misses apart.
    pub(super) fn add(&mut self, mode: Mode, outcome: &ModeOutcome) {
        self.rows.push(ModeFigures::of(
            mode,
            Which::All,
            &outcome.succeeded.iter().collect::<Vec<_>>(),
            outcome.errors,
        ));
        let (hits, misses): (Vec<_>, Vec<_>) = outcome.succeeded.iter().partition(|job| job.is_hit);
        if !self.name.starts_with("pool:") {
            return;
        }
        for (which, jobs) in [(Which::Hit, hits), (Which::Miss, misses)] {
            if !jobs.is_empty() {
                self.rows.push(ModeFigures::of(mode, which, &jobs, 0));
            }
        }
    }

    /// The last mode, in one line.
    pub(super) fn summary(&self) -> String {
        let Some(row) = self.rows.iter().rfind(|row| row.which == Which::All) else { return String::new() };
        let (p50, p99) = (row.percentile(50), row.percentile(99));
        format!("{} jobs, {} errors, tti p50 {p50:.1} ms, p99 {p99:.1} ms", row.tti_ms.len(), row.errors)
    }

    fn report(&self) -> Value {
        let mut report = json!({ "slot_mib": self.memory.map(ContainerMemory::report) });
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

impl ModeFigures {
    fn of(mode: Mode, which: Which, jobs: &[&JobStages], errors: usize) -> Self {
        let mut tti_ms: Vec<f64> = jobs.iter().map(|job| job.tti_ms).collect();
        tti_ms.sort_by(f64::total_cmp);
        let median =
            |stage: usize| percentile(&jobs.iter().map(|job| job.at_ms[stage]).collect::<Vec<_>>(), 50);
        Self { mode, which, tti_ms, at_ms: std::array::from_fn(median), errors }
    }

    /// A percentile of the times to the first event, in milliseconds to a tenth.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.tti_ms, percent)
    }

    /// How long each stage lasts, in milliseconds; the last one has no length.
    pub(super) fn stages(&self) -> impl Iterator<Item = (Stage, f64)> {
        let lasts = self.at_ms.windows(2).map(|pair| pair[1] - pair[0]);
        Stage::ALL.into_iter().zip(lasts.collect::<Vec<_>>())
    }

    /// From the request until the container is removed, in milliseconds.
    pub(super) fn total_ms(&self) -> f64 {
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

/// Constant figures, for tests of what shows them.
#[cfg(test)]
pub(super) fn fixed() -> Figures {
    let job = |start: f64, is_hit: bool| JobStages {
        tti_ms: start + 6.0,
        at_ms: [0.0, 1.0, 2.0, start, start + 1.0, start + 6.0, start + 20.0, start + 80.0],
        is_hit,
    };
    let figures_of = |name, memory, jobs: Vec<JobStages>| {
        let mut runtime = RuntimeFigures { name, memory, pool: None, rows: Vec::new() };
        for mode in [Mode::Poisson, Mode::Burst] {
            runtime.add(
                mode,
                &ModeOutcome { succeeded: jobs.clone(), errors: usize::from(mode == Mode::Burst) },
            );
        }
        runtime
    };
    let memory = Some(ContainerMemory { container_mib: 0.9, keeper_mib: 3.1 });
    let cold = (0..8).map(|n| job(200.0 + f64::from(n) * 5.0, false)).collect();
    let warm =
        (0..8).map(|n| if n < 6 { job(4.0 + f64::from(n), true) } else { job(240.0, false) }).collect();
    let runtimes = vec![
        figures_of("docker", memory, cold),
        figures_of("pool:docker", memory, warm),
        figures_of("null", None, vec![]),
    ];
    Figures { seed: 1, rate: 2.0, runtimes }
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
