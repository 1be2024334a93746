//! The times at which jobs are submitted: drawn from a seed before the measurement begins, and the same for every runtime.

use std::time::Duration;

/// The pause between two staggered jobs.
const STAGGER: Duration = Duration::from_millis(200);

/// How jobs are submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// By chance, whether or not those before have had their turn: a Poisson process.
    Poisson,
    /// Each when the one before it has been cleared away.
    Sequential,
    /// One every 200 ms.
    Staggered,
    /// All at once.
    Burst,
}

impl Mode {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Poisson, Self::Sequential, Self::Staggered, Self::Burst];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Sequential => "sequential",
            Self::Staggered => "staggered",
            Self::Burst => "burst",
        }
    }
}

/// The submissions of one mode.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trace {
    /// This number of jobs, one after the other.
    InTurns(u32),
    /// At these times from the beginning.
    At(Vec<Duration>),
}

impl Trace {
    /// `n` jobs, or `burst` jobs in a burst; of a Poisson process, `rate` a second on average.
    pub(super) fn of(mode: Mode, n: u32, burst: u32, rate: f64, seed: u64) -> Self {
        match mode {
            Mode::Sequential => Self::InTurns(n),
            Mode::Staggered => Self::At((0..n).map(|number| STAGGER * number).collect()),
            Mode::Burst => Self::At(vec![Duration::ZERO; burst as usize]),
            Mode::Poisson => {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut at = Duration::ZERO;
                let arrivals = (0..n).map(|_| {
                    // times between arrivals are exponentially distributed
                    at += Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / rate);
                    at
                });
                Self::At(arrivals.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_when_jobs_are_submitted() {
        let draw = |seed| match Trace::of(Mode::Poisson, 10_000, 0, 5.0, seed) {
            Trace::At(times) => times,
            Trace::InTurns(_) => panic!("a Poisson process has times"),
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let times = draw(1);
        assert!(times.is_sorted());
        let last = times.last().unwrap().as_secs_f64();
        assert!((1900.0..2100.0).contains(&last), "five a second: {last}");
    }

    #[test]
    fn every_mode_has_its_times() {
        let of = |mode| Trace::of(mode, 3, 2, 1.0, 1);
        assert_eq!(of(Mode::Sequential), Trace::InTurns(3));
        assert_eq!(of(Mode::Staggered), Trace::At([0, 200, 400].map(Duration::from_millis).into()));
        assert_eq!(of(Mode::Burst), Trace::At(vec![Duration::ZERO; 2]));
    }
}
