//! Who is next: a line that is fair between users. Pure; [`crate::slots`] waits around it.
//!
//! Between users it is start-time fair queueing: each turn moves its user's virtual time on by one over the user's
//! weight, and the user with the least goes next. Who comes back after a pause begins at the line's present time, so
//! that nobody saves up turns by staying away. (P. Goyal, H. M. Vin, H. Cheng, "Start-time fair queueing", 1996.)
//!
//! Within a user it goes by rank: the highest priority first, then the oldest; a priority is worth one step of ageing
//! of waiting, so that nothing starves. A job that a limit keeps from running is passed over by others; one that has
//! been kept waiting too long by a limit of the whole house is not: then the house waits until it fits.

mod decision;
mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::JobId;

use crate::demand::{Caps, Demand};
use crate::usage::Usage;
pub(crate) use decision::Decision;
use decision::{Passed, Turn};
use queue::{Queue, Rank};

/// The virtual time of one turn at weight 1: divisible by every weight up to 10.
const TURN: u64 = 5_040_000;

/// The line's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fairness {
    /// Turns of a user for each turn of others; 1 for who is not here.
    pub weights: BTreeMap<String, u32>,
    /// Waiting so long is worth as much as one more priority.
    pub ageing: Duration,
    /// After so long nobody overtakes a job that waits for memory, processors or processes of the host.
    pub patience: Duration,
}

impl Default for Fairness {
    fn default() -> Self {
        Self { weights: BTreeMap::new(), ageing: Duration::from_mins(1), patience: Duration::from_secs(30) }
    }
}

/// Jobs that wait, by user.
#[derive(Debug)]
pub(crate) struct Line {
    fairness: Fairness,
    jobs: BTreeMap<JobId, Demand>,
    users: BTreeMap<Arc<str>, User>,
    /// Users who wait, in the order of their turns.
    turns: BTreeSet<(u64, Arc<str>)>,
    /// Users who do not, and have had turns that the line has not made up for yet.
    resting: BTreeSet<(u64, Arc<str>)>,
    /// The virtual time of the last turn that was given.
    now: u64,
}

#[derive(Debug)]
struct User {
    /// Virtual time of the next turn.
    time: u64,
    weight: u32,
    queue: Queue,
}

impl Line {
    pub(crate) fn new(fairness: Fairness) -> Self {
        let (jobs, users) = (BTreeMap::new(), BTreeMap::new());
        Self { fairness, jobs, users, turns: BTreeSet::new(), resting: BTreeSet::new(), now: 0 }
    }

    /// Joins the line. A job that comes back stands where it stood.
    pub(crate) fn join(&mut self, demand: Demand) {
        if self.jobs.contains_key(&demand.job) {
            return;
        }
        let name = demand.user.clone();
        let fresh = || User::new(self.fairness.weight(&name));
        let user = self.users.entry(name.clone()).or_insert_with(fresh);
        if user.queue.is_empty() {
            self.resting.remove(&(user.time, name.clone()));
            user.time = user.time.max(self.now);
            self.turns.insert((user.time, name));
        }
        user.queue.join(&demand, self.fairness.rank(&demand));
        self.jobs.insert(demand.job, demand);
    }

    /// Takes the job whose turn it is and that may run, and says what was weighed.
    pub(crate) fn next(&mut self, usage: &Usage, caps: &Caps, now: Timestamp) -> Option<(Demand, Decision)> {
        let mut passed_over = Passed::default();
        let job = self.find(usage, caps, now, &mut passed_over)?;
        let demand = self.jobs.remove(&job)?;
        let user = self.users.get_mut(&demand.user)?;
        let decision = Decision {
            waited: waited(&demand, now),
            priority: self.fairness.aged(&demand, now),
            running: usage.jobs(),
            max_running: caps.running,
            user_running: usage.jobs_of(&demand.user),
            user_turn: Turn { time: user.time, weight: user.weight },
            passed_over,
        };
        self.turns.remove(&(user.time, demand.user.clone()));
        self.now = user.time.max(self.now);
        user.queue.leave(&demand, self.fairness.rank(&demand));
        user.time += user.cost();
        self.settle(&demand.user);
        Some((demand, decision))
    }

    /// Leaves the line.
    pub(crate) fn leave(&mut self, job: JobId) {
        let Some(demand) = self.jobs.remove(&job) else { return };
        let Some(user) = self.users.get_mut(&demand.user) else { return };
        user.queue.leave(&demand, self.fairness.rank(&demand));
        if user.queue.is_empty() {
            self.turns.remove(&(user.time, demand.user.clone()));
            self.settle(&demand.user);
        }
    }

    /// What a job that waits asks for.
    pub(crate) fn demand(&self, job: JobId) -> Option<&Demand> {
        self.jobs.get(&job)
    }

    /// How many go before a job, if nobody joins or leaves and no limit stands in anyone's way.
    pub(crate) fn ahead(&self, job: JobId) -> Option<usize> {
        Some(self.ahead_of(self.demand(job)?))
    }

    /// The same for one that may stand in line or not yet.
    pub(crate) fn ahead_of(&self, demand: &Demand) -> usize {
        let own = self.users.get(&demand.user);
        let index = own.map_or(0, |own| own.queue.before(self.fairness.rank(demand)));
        let time = own.map_or(0, |own| own.time).max(self.now);
        let cost = TURN / u64::from(self.fairness.weight(&demand.user));
        let turn = time + cost * index as u64;
        let others = self.users.iter().filter(|(_, user)| user.time <= turn && !user.queue.is_empty());
        let before = others.filter(|(name, _)| **name != demand.user).map(|(name, user)| {
            // of equal times the first name goes first, as in `turns`
            let until = if *name < demand.user { turn + 1 } else { turn };
            let turns = (until - user.time).div_ceil(user.cost());
            usize::try_from(turns).unwrap_or(usize::MAX).min(user.queue.len())
        });
        index + before.sum::<usize>()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// The first in turn and rank whom no limit keeps from running.
    fn find(&self, usage: &Usage, caps: &Caps, now: Timestamp, passed: &mut Passed) -> Option<JobId> {
        if usage.jobs() >= caps.running {
            return None;
        }
        for (_, name) in &self.turns {
            // whoever has all that one user may have neither runs nor holds up the house
            if let Some(obstacle) = usage.is_user_full(name, caps) {
                passed.note(obstacle);
                continue;
            }
            for job in self.users.get(name)?.queue.heads() {
                let demand = self.jobs.get(&job)?;
                match usage.obstacle(demand, caps) {
                    None => return Some(job),
                    Some(obstacle)
                        if obstacle.is_of_the_host() && waited(demand, now) >= self.fairness.patience =>
                    {
                        return None;
                    }
                    Some(obstacle) => passed.note(obstacle),
                }
            }
        }
        None
    }

    /// Gives a user the place among the others that its time asks for, and forgets those who have none to make up.
    fn settle(&mut self, name: &Arc<str>) {
        let Some(user) = self.users.get(name) else { return };
        let among = if user.queue.is_empty() { &mut self.resting } else { &mut self.turns };
        among.insert((user.time, name.clone()));
        while let Some((time, name)) = self.resting.first()
            && *time <= self.now
        {
            self.users.remove(name);
            self.resting.pop_first();
        }
    }
}

impl User {
    fn new(weight: u32) -> Self {
        Self { time: 0, weight, queue: Queue::default() }
    }

    /// What each turn costs.
    fn cost(&self) -> u64 {
        TURN / u64::from(self.weight)
    }
}

impl Fairness {
    fn weight(&self, user: &str) -> u32 {
        self.weights.get(user).copied().unwrap_or(1).max(1)
    }

    /// Where a job stands among those of its user. It says when the job would have had to come to stand there with
    /// priority 0, so that time changes nothing between two who wait.
    fn rank(&self, demand: &Demand) -> Rank {
        let head_start = self.ageing_us().saturating_mul(demand.priority.into());
        Rank { since: demand.since.as_microsecond().saturating_sub(head_start), job: demand.job }
    }

    /// What its priority has grown to.
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
