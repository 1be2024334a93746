//! Who is next: a line that is fair between users. Pure; [`crate::slots`] waits around it.
//!
//! Every user has a queue of their own, first come first served. Between users it is start-time fair queueing:
//! each turn moves its user's virtual time on by one, and the user with the least goes next. Who comes back after
//! a pause begins at the line's present time, so that nobody saves up turns by staying away.
//! (P. Goyal, H. M. Vin, H. Cheng, "Start-time fair queueing", 1996.)

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use mgx_agent_runner::JobId;

/// Jobs that wait, by user.
#[derive(Debug, Default)]
pub(crate) struct Line {
    users: BTreeMap<Arc<str>, Queue>,
    places: HashMap<JobId, Arc<str>>,
    /// The virtual time of the last turn that was given.
    now: u64,
}

#[derive(Debug, Default)]
struct Queue {
    /// Virtual time of the next turn.
    time: u64,
    /// Sorted, so that a job that comes back stands where it stood.
    jobs: VecDeque<JobId>,
}

impl Line {
    /// Joins the line, behind the same user's older jobs.
    pub(crate) fn join(&mut self, user: &Arc<str>, job: JobId) {
        let now = self.now;
        let queue = self.users.entry(user.clone()).or_default();
        if queue.jobs.is_empty() {
            queue.time = queue.time.max(now);
        }
        if let Err(index) = queue.jobs.binary_search(&job) {
            queue.jobs.insert(index, job);
            self.places.insert(job, user.clone());
        }
    }

    /// Takes the job whose turn it is.
    pub(crate) fn next(&mut self) -> Option<JobId> {
        let queue =
            self.users.values_mut().filter(|queue| !queue.jobs.is_empty()).min_by_key(|queue| queue.time)?;
        let job = queue.jobs.pop_front()?;
        self.now = queue.time;
        queue.time += 1;
        self.forget(job);
        Some(job)
    }

    /// Leaves the line.
    pub(crate) fn leave(&mut self, job: JobId) {
        if let Some(queue) = self.places.get(&job).and_then(|user| self.users.get_mut(user)) {
            if let Ok(index) = queue.jobs.binary_search(&job) {
                queue.jobs.remove(index);
            }
            self.forget(job);
        }
    }

    /// How many go before a job, if nobody joins or leaves.
    pub(crate) fn ahead(&self, job: JobId) -> Option<usize> {
        let user = self.places.get(&job)?;
        let own = self.users.get(user)?;
        let index = own.jobs.binary_search(&job).ok()?;
        let turn = own.time + index as u64;
        let others = self.users.iter().filter(|(name, _)| *name != user).map(|(name, queue)| {
            // of equal times the first name goes first, as in `next`
            let before = if name < user { turn + 1 } else { turn };
            usize::try_from(before.saturating_sub(queue.time)).unwrap_or(usize::MAX).min(queue.jobs.len())
        });
        Some(index + others.sum::<usize>())
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Forgets who a job belongs to, and users who have nothing to wait for and no time to make up.
    fn forget(&mut self, job: JobId) {
        if let Some(user) = self.places.remove(&job)
            && self.users.get(&user).is_some_and(|queue| queue.jobs.is_empty() && queue.time <= self.now)
        {
            self.users.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn job(n: u128) -> JobId {
        JobId(Uuid::from_u128(n))
    }

    fn drain(line: &mut Line) -> Vec<u128> {
        std::iter::from_fn(|| line.next()).map(|job| job.0.as_u128()).collect()
    }

    #[test]
    fn users_take_turns_from_the_first_job_on() {
        let mut line = Line::default();
        for n in 0..4 {
            line.join(&"flood".into(), job(n));
        }
        line.join(&"guest".into(), job(10));
        line.join(&"guest".into(), job(11));
        assert_eq!(drain(&mut line), [0, 10, 1, 11, 2, 3]);
    }

    #[test]
    fn who_comes_late_waits_for_nobodys_backlog() {
        let mut line = Line::default();
        for n in 0..100 {
            line.join(&"flood".into(), job(n));
        }
        for _ in 0..50 {
            line.next();
        }
        line.join(&"guest".into(), job(1000));
        assert!(line.ahead(job(1000)).unwrap() <= 1);
    }

    #[test]
    fn staying_away_saves_no_turns() {
        let mut line = Line::default();
        line.join(&"guest".into(), job(1));
        line.next();
        for n in 100..200 {
            line.join(&"flood".into(), job(n));
        }
        for _ in 0..50 {
            line.next();
        }
        for n in 200..210 {
            line.join(&"guest".into(), job(n));
        }
        let guests = drain(&mut line).into_iter().take(6).filter(|n| *n >= 200).count();
        assert!((2..=4).contains(&guests), "{guests} of the next 6 turns");
    }

    proptest! {
        #[test]
        fn the_announced_place_is_the_true_one(jobs in prop::collection::vec((0u8..4, any::<bool>()), 1..40)) {
            let mut line = Line::default();
            for (n, (user, leaves)) in jobs.iter().enumerate() {
                line.join(&format!("user-{user}").into(), job(n as u128));
                if *leaves { line.leave(job(n as u128 / 2)); }
            }
            let waiting = line.len();
            let announced: HashMap<_, _> =
                (0..jobs.len() as u128).filter_map(|n| Some((n, line.ahead(job(n))?))).collect();
            prop_assert_eq!(announced.len(), waiting);
            for (turn, n) in drain(&mut line).into_iter().enumerate() {
                prop_assert_eq!(announced[&n], turn);
            }
            prop_assert_eq!(line.len(), 0);
        }
    }
}
