//! How fast a user may submit jobs: so many at once, and so many a minute in the long run (the generic cell rate
//! algorithm, GCRA, of ITU-T I.371).

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::batch::{RequestedJob, Submitter};
use crate::policy::{GateLayer, Policy};
use crate::refusal::Refusal;

/// How fast a user may submit jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Jobs in a minute, in the long run (`rate.per_minute`).
    pub per_minute: NonZeroU32,
    /// Jobs at once (`rate.burst`).
    pub burst: NonZeroU32,
}

/// The most users whose rate is counted at a time. A user who may submit the whole burst again is forgotten.
const MAX_USERS: usize = 100_000;

/// Holds every user to a rate.
#[derive(Debug)]
pub(crate) struct Limiter<C: Clock> {
    rate: Rate,
    max_users: usize,
    /// The time in which a user may submit one more job.
    interval: Nanos,
    accounts: Accounts,
    cells: RateLimiter<String, Accounts, C, NoOpMiddleware<C::Instant>>,
}

/// When each user, going on at the full rate, would have submitted what they have (GCRA's "theoretical arrival time").
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
struct Accounts(Arc<Mutex<HashMap<String, Nanos>>>);

/// Refuses the jobs of users who submit faster than `rate`. What the scheduler then refuses does not count.
pub(crate) fn layer<C: Clock + Send + Sync + 'static>(rate: Rate, clock: C) -> GateLayer<Limiter<C>> {
    GateLayer::new(Limiter::new(rate, clock, MAX_USERS))
}

impl<C: Clock> Limiter<C> {
    fn new(rate: Rate, clock: C, max_users: usize) -> Self {
        let quota = Quota::per_minute(rate.per_minute).allow_burst(rate.burst);
        let accounts = Accounts::default();
        let interval = quota.replenish_interval().into();
        let cells = RateLimiter::new(quota, accounts.clone(), clock);
        Self { rate, max_users, interval, accounts, cells }
    }

    /// Whether there is room for the account of `user`.
    fn has_room_for(&self, user: &str) -> bool {
        let has_room = || {
            let accounts = self.accounts.lock();
            accounts.len() < self.max_users || accounts.contains_key(user)
        };
        has_room() || {
            self.cells.retain_recent();
            has_room()
        }
    }
}

impl<C: Clock + Send + Sync + 'static> Policy for Limiter<C> {
    fn admit(&self, from: &Submitter, _: &mut RequestedJob) -> Result<(), Refusal> {
        if !self.has_room_for(&from.user) {
            return Err(Refusal::TooManyUsers { max: self.max_users, retry_after: Duration::from_mins(1) });
        }
        self.cells.check_key(&from.user).map_err(|not_until| {
            let Rate { per_minute, burst } = self.rate;
            let retry_after = not_until.wait_time_from(self.cells.clock().now());
            Refusal::TooFast { per_minute: per_minute.get(), burst: burst.get(), retry_after }
        })
    }

    fn take_back(&self, from: &Submitter, count: u32) {
        if let Some(arrival) = self.accounts.lock().get_mut(&from.user) {
            *arrival = arrival.saturating_sub(self.interval * count.into());
        }
    }
}

impl Accounts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Nanos>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Accounts {
    type Key = String;

    fn measure_and_replace<T, F, E>(&self, user: &String, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut accounts = self.lock();
        if let Some(arrival) = accounts.get_mut(user) {
            let (outcome, next) = decide(Some(*arrival))?;
            *arrival = next;
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        accounts.insert(user.clone(), next);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<String> for Accounts {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, arrival| *arrival > drop_below);
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::batch::{Batch, Decision};
    use crate::testing::{accept, ask, batch, outcomes, spec, submitter};
    use governor::clock::FakeRelativeClock;
    use mgx_protocol::JobId;
    use mgx_scheduler::Rejection;
    use tower::{Layer, service_fn};

    fn rate(per_minute: u32, burst: u32) -> Rate {
        Rate { per_minute: per_minute.try_into().unwrap(), burst: burst.try_into().unwrap() }
    }

    fn submit(limiter: &impl Policy, user: &str) -> Result<(), Refusal> {
        limiter.admit(&submitter(user), &mut RequestedJob { id: JobId::new(), spec: spec("x") })
    }

    #[tokio::test]
    async fn a_burst_is_let_in_and_the_rest_is_told_when_to_come_back() {
        let clock = FakeRelativeClock::default();
        let layer = layer(rate(60, 3), clock.clone());
        let five = || ask(layer.layer(service_fn(accept)), batch(&["a", "b", "c", "d", "e"]));
        let decisions = five().await;
        let Err(refusal) = &decisions[3] else { panic!("{decisions:?}") };
        assert_eq!(refusal.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(outcomes(decisions), ["a", "b", "c", "rate.burst", "rate.burst"]);
        clock.advance(Duration::from_millis(999));
        assert_eq!(outcomes(five().await), ["rate.burst"; 5]);
        clock.advance(Duration::from_millis(1));
        assert_eq!(outcomes(five().await), ["a", "rate.burst", "rate.burst", "rate.burst", "rate.burst"]);
        clock.advance(Duration::from_hours(1));
        assert_eq!(outcomes(five().await), ["a", "b", "c", "rate.burst", "rate.burst"]);
    }

    #[test]
    fn users_have_rates_of_their_own() {
        let limiter = Limiter::new(rate(60, 1), FakeRelativeClock::default(), 10);
        submit(&limiter, "ann").unwrap();
        submit(&limiter, "ann").unwrap_err();
        submit(&limiter, "bob").unwrap();
    }

    #[tokio::test]
    async fn what_the_scheduler_refuses_costs_nothing() {
        let layer = layer(rate(60, 2), FakeRelativeClock::default());
        let full = service_fn(|batch: Batch| {
            let decisions = batch.jobs.iter().map(|_| Err(Rejection::Draining.into())).collect();
            std::future::ready(Ok::<Vec<Decision>, Infallible>(decisions))
        });
        for _ in 0..3 {
            let decisions = ask(layer.layer(full), batch(&["a", "b"])).await;
            assert_eq!(outcomes(decisions), ["draining", "draining"]);
        }
        let decisions = ask(layer.layer(service_fn(accept)), batch(&["a", "b", "c"])).await;
        assert_eq!(outcomes(decisions), ["a", "b", "rate.burst"], "and no more than the burst is given back");
    }

    #[test]
    fn so_many_users_are_kept_count_of_and_forgotten_when_they_rest() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::new(rate(60, 2), clock.clone(), 2);
        submit(&limiter, "ann").unwrap();
        submit(&limiter, "bob").unwrap();
        let refusal = submit(&limiter, "eve").unwrap_err();
        assert!(matches!(refusal, Refusal::TooManyUsers { max: 2, .. }), "{refusal}");
        submit(&limiter, "ann").expect("who is known is let in");
        clock.advance(Duration::from_secs(3));
        submit(&limiter, "eve").unwrap();
        assert_eq!(limiter.accounts.len(), 1);
    }
}
