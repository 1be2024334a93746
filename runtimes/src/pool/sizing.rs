//! How many containers should be warm: a pure function of the demand and of the time that making one takes.

use std::time::Duration;

use tokio::time::Instant;

/// The time over which arrivals are averaged.
const WINDOW: Duration = Duration::from_secs(10);

/// How many standard deviations above the expected arrivals the pool is sized for.
const DEVIATIONS: f64 = 3.0;

/// The bounds of a subpool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least number of warm containers.
    pub min: usize,
    /// The highest number of warm containers.
    pub max: usize,
    /// After how long without a job the number falls to `min`.
    pub idle: Duration,
}

/// The rate at which jobs have started lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// Arrivals a second, as of `last`.
    rate: f64,
    last: Instant,
}

impl Demand {
    /// No arrival before `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self { rate: 0.0, last: now }
    }

    /// Counts an arrival.
    pub(crate) fn arrival(&mut self, now: Instant) {
        *self = Self { rate: self.rate(now) + 1.0 / WINDOW.as_secs_f64(), last: now };
    }

    /// Arrivals a second; older ones count exponentially less.
    fn rate(&self, now: Instant) -> f64 {
        self.rate * (-(self.quiet(now).as_secs_f64() / WINDOW.as_secs_f64())).exp()
    }

    fn quiet(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }
}

/// How many containers should be warm at `now`, if `before` was the last target, making one takes `create`, and there is
/// memory for `affordable`.
///
/// Every job that arrives while a container is being made should find another one. Their number is rate × time on average,
/// and nearly always below that plus three standard deviations (the deviation of a Poisson process is the square root).
pub(crate) fn target(
    bounds: Bounds,
    demand: &Demand,
    create: Duration,
    before: usize,
    affordable: usize,
    now: Instant,
) -> usize {
    let wanted = if demand.quiet(now) >= bounds.idle {
        bounds.min
    } else {
        let during = demand.rate(now) * create.as_secs_f64();
        // a target that fell in every lull would be too small after it
        ceil(during + DEVIATIONS * during.sqrt()).max(before)
    };
    wanted.max(bounds.min).min(bounds.max).min(affordable)
}

fn ceil(number: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates, at both ends"
    )]
    let whole = number.ceil() as usize;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { min: 2, max: 20, idle: Duration::from_mins(1) };
    const CREATE: Duration = Duration::from_millis(250);

    /// Demand after `count` arrivals, `gap` apart, and the time of the last.
    fn after(count: u32, gap: Duration) -> (Demand, Instant) {
        let start = Instant::now();
        let mut demand = Demand::new(start);
        for step in 1..=count {
            demand.arrival(start + gap * step);
        }
        (demand, start + gap * count)
    }

    #[tokio::test]
    async fn without_demand_the_target_is_the_minimum() {
        let (demand, now) = after(0, CREATE);
        assert_eq!(target(BOUNDS, &demand, CREATE, 0, 100, now), 2);
    }

    #[tokio::test]
    async fn the_target_grows_with_the_rate_and_the_time_of_making_one() {
        // ten a second: 2.5 come while one is made, and up to 4.7 more by chance
        let (demand, now) = after(1000, Duration::from_millis(100));
        assert_eq!(target(BOUNDS, &demand, CREATE, 2, 100, now), 8);
        assert_eq!(target(BOUNDS, &demand, CREATE / 10, 2, 100, now), 2);
        assert_eq!(target(BOUNDS, &demand, CREATE * 10, 2, 100, now), 20, "never above the maximum");
    }

    #[tokio::test]
    async fn the_target_never_exceeds_the_memory() {
        let (demand, now) = after(1000, Duration::from_millis(100));
        assert_eq!(target(BOUNDS, &demand, CREATE, 8, 5, now), 5);
        assert_eq!(target(BOUNDS, &demand, CREATE, 8, 0, now), 0);
    }

    #[tokio::test]
    async fn the_target_falls_only_after_a_long_time_without_demand() {
        let (demand, now) = after(1000, Duration::from_millis(100));
        let lull = BOUNDS.idle.saturating_sub(Duration::from_secs(1));
        assert_eq!(target(BOUNDS, &demand, CREATE, 8, 100, now + lull), 8);
        assert_eq!(target(BOUNDS, &demand, CREATE, 8, 100, now + BOUNDS.idle), 2);
    }

    #[tokio::test]
    async fn an_average_over_a_long_time_is_the_rate() {
        let (demand, now) = after(1000, Duration::from_millis(200));
        assert!((4.5..5.5).contains(&demand.rate(now)), "{demand:?}");
    }
}
