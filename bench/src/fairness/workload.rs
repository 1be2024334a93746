//! The jobs that users submit, and when: drawn from a seed before the measurement begins.

use std::collections::BTreeMap;
use std::time::Duration;

use mgx_runtimes::Limits;
use mgx_runtimes::null::HOLD;
use mgx_scheduler::{JobSpec, Kind, SchedulingOptions};

/// Memory of an ordinary job, in bytes.
pub(super) const MEMORY_BYTES: u64 = 256 << 20;

/// One job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SimulatedJob {
    /// The number of its user.
    pub(super) user: usize,
    /// Its kind.
    pub(super) kind: Kind,
    /// Its memory, in bytes.
    pub(super) memory_bytes: u64,
    /// How long it holds its slot.
    pub(super) hold: Duration,
}

/// A job of a user who submits at a normal rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When it is submitted, from the beginning of the measurement.
    pub(super) at: Duration,
    /// The job.
    pub(super) job: SimulatedJob,
}

/// Draws jobs.
#[derive(Debug)]
pub(super) struct WorkloadGenerator {
    rng: fastrand::Rng,
    hold: Duration,
}

impl WorkloadGenerator {
    /// Jobs hold their slots for `hold` on average (exponentially distributed).
    pub(super) fn of(seed: u64, hold: Duration) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), hold }
    }

    /// A Poisson process of `users` for as long as `window`, one job after each `pause` on average.
    pub(super) fn arrivals(&mut self, users: usize, pause: Duration, window: Duration) -> Vec<Arrival> {
        let mut at = Duration::ZERO;
        let mut arrivals = Vec::new();
        loop {
            at += exponential(&mut self.rng, pause);
            if at >= window {
                return arrivals;
            }
            let user = self.rng.usize(..users);
            arrivals.push(Arrival { at, job: self.ordinary(user) });
        }
    }

    /// `each` jobs of each of `users`, all at the beginning.
    pub(super) fn at_once(&mut self, users: usize, each: u32) -> Vec<Arrival> {
        let users = (0..each).flat_map(|_| 0..users);
        users.map(|user| Arrival { at: Duration::ZERO, job: self.ordinary(user) }).collect()
    }

    /// `count` jobs of one user.
    pub(super) fn flood(&mut self, user: usize, count: u32) -> Vec<SimulatedJob> {
        (0..count).map(|_| self.ordinary(user)).collect()
    }

    /// Jobs of one user, of every kind and of three sizes.
    pub(super) fn mixed(&mut self, user: usize, count: u32) -> Vec<SimulatedJob> {
        let mut mixed = |_| {
            let kind = *self.rng.choice(&[Kind::Agent, Kind::Dev, Kind::Build]).unwrap_or(&Kind::Agent);
            SimulatedJob { kind, memory_bytes: MEMORY_BYTES * self.rng.u64(1..=3), ..self.ordinary(user) }
        };
        (0..count).map(&mut mixed).collect()
    }

    fn ordinary(&mut self, user: usize) -> SimulatedJob {
        let hold = exponential(&mut self.rng, self.hold);
        SimulatedJob { user, kind: Kind::Agent, memory_bytes: MEMORY_BYTES, hold }
    }
}

impl SimulatedJob {
    /// The job as the scheduler takes it.
    pub(super) fn spec(&self) -> JobSpec {
        JobSpec {
            kind: self.kind,
            prompt: String::new(),
            command: vec![HOLD.to_owned(), self.hold.as_millis().to_string()],
            env: BTreeMap::new(),
            workdir: String::new(),
            limits: Limits { memory_bytes: self.memory_bytes, cpu_quota: 1000, pids: 8 },
            timeout_s: 3600,
            options: SchedulingOptions::default(),
            continues: Vec::new(),
        }
    }
}

/// An exponentially distributed time, `mean` on average.
fn exponential(rng: &mut fastrand::Rng, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - rng.f64()).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_arrivals_and_the_load_is_as_requested() {
        let draw = |seed| {
            let mut workload = WorkloadGenerator::of(seed, Duration::from_millis(40));
            workload.arrivals(9, Duration::from_millis(10), Duration::from_secs(100))
        };
        let shown = |arrivals: &[Arrival]| format!("{:?}", arrivals.iter().take(5).collect::<Vec<_>>());
        assert_eq!(shown(&draw(1)), shown(&draw(1)));
        assert_ne!(shown(&draw(1)), shown(&draw(2)));
        let arrivals = draw(1);
        let work: Duration = arrivals.iter().map(|arrival| arrival.job.hold).sum();
        // 10,000 jobs of 40 ms keep four slots busy
        assert!((9_500..10_500).contains(&arrivals.len()), "{}", arrivals.len());
        assert!((380..420).contains(&work.as_secs()), "{work:?}");
    }
}
