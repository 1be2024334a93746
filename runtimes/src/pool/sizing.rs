//! How many containers should wait: a pure function of how many are asked for, and of what they cost.

use std::time::Duration;

use tokio::time::Instant;

/// Over how long arrivals are averaged.
const WINDOW: Duration = Duration::from_secs(10);

/// How many standard deviations of the arrivals during one refill the pool is to bear.
const MARGIN: f64 = 3.0;

/// What one pool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// As many wait always.
    pub min: usize,
    /// More never do.
    pub max: usize,
    /// How long nobody has to come until no more than `min` wait.
    pub idle: Duration,
}

/// How often somebody came lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// Arrivals a second, as of `last`.
    rate: f64,
    last: Instant,
}

impl Demand {
    /// Nobody came before `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self { rate: 0.0, last: now }
    }

    /// Somebody comes.
    pub(crate) fn arrival(&mut self, now: Instant) {
        *self = Self { rate: self.rate(now) + 1.0 / WINDOW.as_secs_f64(), last: now };
    }

    /// Arrivals a second, with those long ago counting less and less.
    fn rate(&self, now: Instant) -> f64 {
        self.rate * (-(self.quiet(now).as_secs_f64() / WINDOW.as_secs_f64())).exp()
    }

    fn quiet(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }
}

/// How many should wait at `now`, where `before` were to wait, making one takes `create`, and memory is there for
/// `affordable`.
///
/// Whoever comes while one is being made should find another one: those are on average rate × time, and nearly
/// always fewer than that and three standard deviations (arrivals by chance vary by the square root of their number).
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
        // a pool that shrank at each lull would be empty at each return
        ceil(during + MARGIN * during.sqrt()).max(before)
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
    async fn nobody_keeps_the_least() {
        let (demand, now) = after(0, CREATE);
        assert_eq!(target(BOUNDS, &demand, CREATE, 0, 100, now), 2);
    }

    #[tokio::test]
    async fn it_grows_with_the_rate_and_the_price_of_a_miss() {
        // ten a second: 2.5 come while one is made, and up to 4.7 more by chance
        let (demand, now) = after(1000, Duration::from_millis(100));
        assert_eq!(target(BOUNDS, &demand, CREATE, 2, 100, now), 8);
        assert_eq!(target(BOUNDS, &demand, CREATE / 10, 2, 100, now), 2);
        assert_eq!(target(BOUNDS, &demand, CREATE * 10, 2, 100, now), 20, "never beyond the most");
    }

    #[tokio::test]
    async fn memory_has_the_last_word() {
        let (demand, now) = after(1000, Duration::from_millis(100));
        assert_eq!(target(BOUNDS, &demand, CREATE, 8, 5, now), 5);
        assert_eq!(target(BOUNDS, &demand, CREATE, 8, 0, now), 0);
    }

    #[tokio::test]
    async fn it_shrinks_only_when_nobody_has_come_for_long() {
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
