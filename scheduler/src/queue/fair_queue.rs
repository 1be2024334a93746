//! The queue for slots, fair between users. Pure; [`slots`](super::slots) waits around it.
//!
//! Between users it is start-time fair queueing: each slot that is granted advances its user's virtual time by one over
//! the user's weight, and the user with the least virtual time is next. A user who returns after a pause begins at the
//! queue's present virtual time, so that no user saves up turns by staying away. (P. Goyal, H. M. Vin, H. Cheng,
//! "Start-time fair queueing", 1996.)
//!
//! Jobs of one user go by rank: the highest priority first, then the oldest; a priority is worth one `ageing` of waiting,
//! so that no job starves. A job that a limit keeps from running is overtaken by others. One that has waited for a limit
//! of the whole host longer than `overtaking_limit` is not: then no job starts until it fits. One that asks for more than
//! the limit itself can never run, and is always overtaken.

mod user_queue;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::JobId;

use super::demand::{Caps, Demand};
use super::grant_reason::{GrantReason, PassedOver, UserTurn};
use super::usage::Usage;
use user_queue::{Rank, UserQueue};

/// The virtual time of one granted slot at weight 1: divisible by every weight up to 10.
const TURN_COST: u64 = 5_040_000;

/// How slots are shared between users and jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fairness {
    /// Slots that a user is granted for each slot of others; 1 for users who are not listed.
    pub weights: BTreeMap<String, u32>,
    /// Waiting so long is worth as much as one more step of priority.
    pub ageing: Duration,
    /// After so long no job overtakes one that waits for memory, processors or processes of the host
    /// (`scheduler.patience`).
    pub overtaking_limit: Duration,
}

impl Default for Fairness {
    fn default() -> Self {
        Self {
            weights: BTreeMap::new(),
            ageing: Duration::from_mins(1),
            overtaking_limit: Duration::from_secs(30),
        }
    }
}

/// Waiting jobs, by user.
#[derive(Debug)]
pub(crate) struct FairQueue {
    fairness: Fairness,
    jobs: BTreeMap<JobId, Demand>,
    users: BTreeMap<Arc<str>, User>,
    /// Users with waiting jobs, in the order of their virtual times.
    waiting_users: BTreeSet<(u64, Arc<str>)>,
    /// Users without waiting jobs, whose virtual time is ahead of the queue's.
    idle_users: BTreeSet<(u64, Arc<str>)>,
    /// The virtual time of the last granted slot.
    now: u64,
}

#[derive(Debug)]
struct User {
    /// The virtual time of its next slot.
    time: u64,
    weight: u32,
    queue: UserQueue,
}

impl FairQueue {
    pub(crate) fn new(fairness: Fairness) -> Self {
        let (jobs, users) = (BTreeMap::new(), BTreeMap::new());
        Self { fairness, jobs, users, waiting_users: BTreeSet::new(), idle_users: BTreeSet::new(), now: 0 }
    }

    /// Adds a job. One that returns gets the rank that it had.
    pub(crate) fn add(&mut self, demand: Demand) {
        if self.jobs.contains_key(&demand.job) {
            return;
        }
        let name = demand.user.clone();
        let fresh = || User::new(self.fairness.weight(&name));
        let user = self.users.entry(name.clone()).or_insert_with(fresh);
        if user.queue.is_empty() {
            self.idle_users.remove(&(user.time, name.clone()));
            user.time = user.time.max(self.now);
            self.waiting_users.insert((user.time, name));
        }
        user.queue.add(&demand, self.fairness.rank(&demand));
        self.jobs.insert(demand.job, demand);
    }

    /// Removes and returns the first job that may run, with what was compared to choose it.
    pub(crate) fn next(
        &mut self,
        usage: &Usage,
        caps: &Caps,
        now: Timestamp,
    ) -> Option<(Demand, GrantReason)> {
        let mut passed_over = PassedOver::default();
        let job = self.find(usage, caps, now, &mut passed_over)?;
        let demand = self.jobs.remove(&job)?;
        let user = self.users.get_mut(&demand.user)?;
        let reason = GrantReason {
            waited: waited(&demand, now),
            priority: self.fairness.aged(&demand, now),
            running: usage.jobs(),
            max_running: caps.running,
            user_running: usage.jobs_of(&demand.user),
            user_turn: UserTurn { time: user.time, weight: user.weight },
            passed_over,
        };
        self.waiting_users.remove(&(user.time, demand.user.clone()));
        self.now = user.time.max(self.now);
        user.queue.remove(&demand, self.fairness.rank(&demand));
        user.time += user.turn_cost();
        self.reposition(&demand.user);
        Some((demand, reason))
    }

    /// Removes a job. Returns whether it was in the queue.
    pub(crate) fn remove(&mut self, job: JobId) -> bool {
        let Some(demand) = self.jobs.remove(&job) else { return false };
        let Some(user) = self.users.get_mut(&demand.user) else { return true };
        user.queue.remove(&demand, self.fairness.rank(&demand));
        if user.queue.is_empty() {
            self.waiting_users.remove(&(user.time, demand.user.clone()));
            self.reposition(&demand.user);
        }
        true
    }

    /// What a waiting job needs.
    pub(crate) fn demand(&self, job: JobId) -> Option<&Demand> {
        self.jobs.get(&job)
    }

    /// How many jobs go before a waiting job, if none is added or removed and no limit keeps any from running.
    pub(crate) fn ahead(&self, job: JobId) -> Option<usize> {
        Some(self.ahead_of(self.demand(job)?))
    }

    /// The same for a job that is or is not in the queue yet.
    pub(crate) fn ahead_of(&self, demand: &Demand) -> usize {
        let own = self.users.get(&demand.user);
        let index = own.map_or(0, |own| own.queue.before(self.fairness.rank(demand)));
        let time = own.map_or(0, |own| own.time).max(self.now);
        let cost = TURN_COST / u64::from(self.fairness.weight(&demand.user));
        let turn = time + cost * index as u64;
        let others = self.users.iter().filter(|(_, user)| user.time <= turn && !user.queue.is_empty());
        let before = others.filter(|(name, _)| **name != demand.user).map(|(name, user)| {
            // of equal times the first name goes first, as in `waiting_users`
            let until = if *name < demand.user { turn + 1 } else { turn };
            let turns = (until - user.time).div_ceil(user.turn_cost());
            usize::try_from(turns).unwrap_or(usize::MAX).min(user.queue.len())
        });
        index + before.sum::<usize>()
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// The first job, by virtual time and rank, that no limit keeps from running.
    fn find(&self, usage: &Usage, caps: &Caps, now: Timestamp, passed: &mut PassedOver) -> Option<JobId> {
        if usage.jobs() >= caps.running {
            return None;
        }
        for (_, name) in &self.waiting_users {
            // a user at the limit of its own jobs starts none and holds up no other user
            if let Some(reached) = usage.reached_user_limit(name, caps) {
                passed.note(reached);
                continue;
            }
            for job in self.users.get(name)?.queue.heads() {
                let demand = self.jobs.get(&job)?;
                match usage.reached_limit(demand, caps) {
                    None => return Some(job),
                    // one that can never run holds up no other: the limit was lowered after it was accepted
                    Some(reached)
                        if reached.is_of_the_host()
                            && Usage::could_ever_run(demand, caps)
                            && waited(demand, now) >= self.fairness.overtaking_limit =>
                    {
                        return None;
                    }
                    Some(reached) => passed.note(reached),
                }
            }
        }
        None
    }

    /// Sorts a user in by its new virtual time, and forgets idle users that the queue's virtual time has passed.
    fn reposition(&mut self, name: &Arc<str>) {
        let Some(user) = self.users.get(name) else { return };
        let users = if user.queue.is_empty() { &mut self.idle_users } else { &mut self.waiting_users };
        users.insert((user.time, name.clone()));
        while let Some((time, name)) = self.idle_users.first()
            && *time <= self.now
        {
            self.users.remove(name);
            self.idle_users.pop_first();
        }
    }
}

impl User {
    fn new(weight: u32) -> Self {
        Self { time: 0, weight, queue: UserQueue::default() }
    }

    /// The virtual time of one granted slot.
    fn turn_cost(&self) -> u64 {
        TURN_COST / u64::from(self.weight)
    }
}

impl Fairness {
    fn weight(&self, user: &str) -> u32 {
        self.weights.get(user).copied().unwrap_or(1).max(1)
    }

    /// The order of a job among those of its user: when a job of priority 0 would have had to be submitted to stand in the
    /// same place. It does not change while the job waits.
    fn rank(&self, demand: &Demand) -> Rank {
        let head_start = self.ageing_us().saturating_mul(demand.priority.into());
        Rank { since: demand.since.as_microsecond().saturating_sub(head_start), job: demand.job }
    }

    /// What its priority has grown to by waiting.
    fn aged(&self, demand: &Demand, now: Timestamp) -> u64 {
        let since = self.rank(demand).since;
        u64::try_from((now.as_microsecond() - since) / self.ageing_us()).unwrap_or(0)
    }

    fn ageing_us(&self) -> i64 {
        i64::try_from(self.ageing.as_micros()).unwrap_or(i64::MAX).max(1)
    }
}

fn waited(demand: &Demand, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(demand.since)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests;
