//! What jobs, and users on the current day, have used since the platform started. Sums of sessions are in the store.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use mgx_protocol::JobId;

use crate::Usage;

/// How many jobs, and how many users, have a sum at a time. One more takes the place of the one that has used nothing for the
/// longest time.
const MAX_SUMS: usize = 16_384;

/// The length of a day, in seconds.
const DAY: i64 = 86_400;

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct UsageSums(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    jobs: HashMap<JobId, Sum>,
    users: HashMap<String, Sum>,
    /// The day of the users' sums, in days since 1970 (UTC).
    day: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    used: Usage,
    last: Timestamp,
}

impl UsageSums {
    /// What the job has used, and its user on the day of `now`.
    pub(crate) fn of(&self, job: JobId, user: &str, now: Timestamp) -> (Usage, Usage) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.turn_to(now);
        let of = |sum: Option<&Sum>| sum.map(|sum| sum.used).unwrap_or_default();
        (of(inner.jobs.get(&job)), of(inner.users.get(user)))
    }

    /// Adds to both, and returns the sums.
    pub(crate) fn add(&self, job: JobId, user: &str, usage: Usage, now: Timestamp) -> (Usage, Usage) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.turn_to(now);
        (add(&mut inner.jobs, &job, usage, now), add(&mut inner.users, user, usage, now))
    }
}

impl Inner {
    /// Begins new sums of users if a new day has begun.
    fn turn_to(&mut self, now: Timestamp) {
        let day = now.as_second().div_euclid(DAY);
        if day > self.day {
            self.day = day;
            self.users.clear();
        }
    }
}

fn add<K, Q>(sums: &mut HashMap<K, Sum>, key: &Q, used: Usage, now: Timestamp) -> Usage
where
    K: Eq + Hash + Clone + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
{
    if sums.len() >= MAX_SUMS && !sums.contains_key(key) {
        let oldest = sums.iter().min_by_key(|(_, sum)| sum.last).map(|(key, _)| key.clone());
        oldest.and_then(|oldest| sums.remove(oldest.borrow()));
    }
    let sum = sums.entry(key.to_owned()).or_default();
    sum.last = now;
    sum.used = sum.used.plus(used);
    sum.used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_summed_and_users_by_day() {
        let (sums, job) = (UsageSums::default(), JobId::new());
        let used = Usage { requests: 1, prompt_tokens: 10, ..Usage::default() };
        let late = Timestamp::from_second(10 * DAY - 1).unwrap();
        let next_day = Timestamp::from_second(10 * DAY).unwrap();
        sums.add(job, "ann", used, late);
        sums.add(JobId::new(), "ann", used, late);
        let tokens = |(job, user): (Usage, Usage)| (job.prompt_tokens, user.prompt_tokens);
        assert_eq!(tokens(sums.of(job, "ann", late)), (10, 20));
        assert_eq!(tokens(sums.of(job, "bob", late)), (10, 0));
        assert_eq!(tokens(sums.add(job, "ann", used, next_day)), (20, 10));
    }

    #[test]
    fn the_number_of_sums_is_bounded() {
        let sums = UsageSums::default();
        for number in 0..MAX_SUMS + 3 {
            let now = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
            sums.add(JobId::new(), "ann", Usage::default(), now);
        }
        assert_eq!(sums.0.lock().unwrap().jobs.len(), MAX_SUMS);
    }
}
