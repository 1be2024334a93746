//! Who is next: a line that is fair between users. Pure; [`crate::slots`] waits around it.
//!
//! Between users it is start-time fair queueing: each turn moves its user's virtual time on by one over the user's
//! weight, and the user with the least goes next. Who comes back after a pause begins at the line's present time, so
//! that nobody saves up turns by staying away. (P. Goyal, H. M. Vin, H. Cheng, "Start-time fair queueing", 1996.)
//!
//! Within a user the highest priority goes first, then the oldest; waiting raises a priority by one with each step of
//! ageing, so that nothing starves. A job that a limit keeps from running is passed over by others; one that has been
//! kept waiting too long by a limit of the whole house is not: then the house waits until it fits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mgx_agent_runner::{JobId, SessionId};

use crate::demand::{Caps, Demand};
use crate::job::Kind;
use crate::usage::Usage;

/// The virtual time of one turn at weight 1: divisible by every weight up to 10.
const TURN: u64 = 5_040_000;

/// The line's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fairness {
    /// Turns of a user for each turn of others; 1 for who is not here.
    pub weights: BTreeMap<String, u32>,
    /// Waiting so long raises a job's priority by one.
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
    users: BTreeMap<Arc<str>, Queue>,
    places: HashMap<JobId, (Arc<str>, Lane)>,
    /// The virtual time of the last turn that was given.
    now: u64,
}

#[derive(Debug)]
struct Queue {
    /// Virtual time of the next turn.
    time: u64,
    /// What each turn costs.
    cost: u64,
    waiting: usize,
    lanes: BTreeMap<Lane, VecDeque<Demand>>,
}

/// Jobs that only their age tells apart: if the first cannot run, none can.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    priority: Reverse<u8>,
    kind: Kind,
    session: SessionId,
    group: Option<Arc<str>>,
}

/// What comes first in a user's own queue, lowest first.
type Rank = (Reverse<u64>, JobId);

impl Line {
    pub(crate) fn new(fairness: Fairness) -> Self {
        Self { fairness, users: BTreeMap::new(), places: HashMap::new(), now: 0 }
    }

    /// Joins the line. A job that comes back stands where it stood.
    pub(crate) fn join(&mut self, demand: Demand) {
        let weight = self.fairness.weights.get(&*demand.user).copied().unwrap_or(1).max(1);
        let fresh = || Queue { time: 0, cost: TURN / u64::from(weight), waiting: 0, lanes: BTreeMap::new() };
        let queue = self.users.entry(demand.user.clone()).or_insert_with(fresh);
        if queue.waiting == 0 {
            queue.time = queue.time.max(self.now);
        }
        let lane = Lane::of(&demand);
        let jobs = queue.lanes.entry(lane.clone()).or_default();
        if let Err(index) = jobs.binary_search_by_key(&demand.job, |other| other.job) {
            queue.waiting += 1;
            self.places.insert(demand.job, (demand.user.clone(), lane));
            jobs.insert(index, demand);
        }
    }

    /// Takes the job whose turn it is and that may run.
    pub(crate) fn next(&mut self, usage: &Usage, caps: &Caps, now: Timestamp) -> Option<Demand> {
        if usage.jobs() >= caps.running {
            return None;
        }
        let mut users: Vec<_> = self.users.iter().filter(|(_, queue)| queue.waiting > 0).collect();
        users.sort_by(|(a, mine), (b, theirs)| mine.time.cmp(&theirs.time).then_with(|| a.cmp(b)));
        let (user, lane) =
            users.into_iter().find_map(|(user, queue)| match self.first(queue, usage, caps, now) {
                First::May(lane) => Some(Some((user.clone(), lane))),
                First::NobodyMay => Some(None),
                First::NoneOfTheirs => None,
            })??;
        let queue = self.users.get_mut(&user)?;
        let demand = queue.lanes.get_mut(&lane)?.pop_front()?;
        self.now = queue.time.max(self.now);
        queue.time += queue.cost;
        self.forget(&demand.job);
        Some(demand)
    }

    /// Leaves the line.
    pub(crate) fn leave(&mut self, job: JobId) {
        let Some((user, lane)) = self.places.get(&job).cloned() else { return };
        if let Some(jobs) = self.users.get_mut(&user).and_then(|queue| queue.lanes.get_mut(&lane))
            && let Ok(index) = jobs.binary_search_by_key(&job, |other| other.job)
        {
            jobs.remove(index);
        }
        self.forget(&job);
    }

    /// What a job that waits asks for.
    pub(crate) fn demand(&self, job: JobId) -> Option<&Demand> {
        let (user, lane) = self.places.get(&job)?;
        let jobs = self.users.get(user)?.lanes.get(lane)?;
        jobs.binary_search_by_key(&job, |other| other.job).ok().and_then(|index| jobs.get(index))
    }

    /// How many go before a job, if nobody joins or leaves and no limit stands in anyone's way.
    pub(crate) fn ahead(&self, job: JobId, now: Timestamp) -> Option<usize> {
        let demand = self.demand(job)?;
        let own = self.users.get(&demand.user)?;
        let mine = self.rank(demand, now);
        let before = |jobs: &VecDeque<Demand>| jobs.partition_point(|other| self.rank(other, now) < mine);
        let index: usize = own.lanes.values().map(before).sum();
        let turn = own.time + own.cost * index as u64;
        let others = self.users.iter().filter(|(name, _)| **name != demand.user).map(|(name, queue)| {
            // of equal times the first name goes first, as in `next`
            let until = if *name < demand.user { turn + 1 } else { turn };
            usize::try_from(until.saturating_sub(queue.time).div_ceil(queue.cost))
                .unwrap_or(usize::MAX)
                .min(queue.waiting)
        });
        Some(index + others.sum::<usize>())
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    fn first(&self, queue: &Queue, usage: &Usage, caps: &Caps, now: Timestamp) -> First {
        let mut heads: Vec<_> =
            queue.lanes.iter().filter_map(|(lane, jobs)| Some((lane, jobs.front()?))).collect();
        heads.sort_by_key(|(_, demand)| self.rank(demand, now));
        for (lane, demand) in heads {
            match usage.obstacle(demand, caps) {
                None => return First::May(lane.clone()),
                Some(obstacle) if obstacle.is_of_the_host() && self.has_waited(demand, now) => {
                    return First::NobodyMay;
                }
                Some(_) => {}
            }
        }
        First::NoneOfTheirs
    }

    fn has_waited(&self, demand: &Demand, now: Timestamp) -> bool {
        waited(demand, now) >= self.fairness.patience
    }

    fn rank(&self, demand: &Demand, now: Timestamp) -> Rank {
        let steps = waited(demand, now).as_millis() / self.fairness.ageing.as_millis().max(1);
        (
            Reverse(u64::from(demand.priority).saturating_add(u64::try_from(steps).unwrap_or(u64::MAX))),
            demand.job,
        )
    }

    /// Forgets where a job stood, lanes that are empty, and users who have nothing to wait for and no time to make up.
    fn forget(&mut self, job: &JobId) {
        let Some((user, lane)) = self.places.remove(job) else { return };
        let Some(queue) = self.users.get_mut(&user) else { return };
        queue.waiting -= 1;
        if queue.lanes.get(&lane).is_some_and(VecDeque::is_empty) {
            queue.lanes.remove(&lane);
        }
        if queue.waiting == 0 && queue.time <= self.now {
            self.users.remove(&user);
        }
    }
}

/// Whether somebody in a user's queue may run now.
enum First {
    May(Lane),
    NoneOfTheirs,
    /// Somebody has waited too long to be overtaken.
    NobodyMay,
}

impl Lane {
    fn of(demand: &Demand) -> Self {
        let Demand { priority, kind, session, group, .. } = demand;
        Self { priority: Reverse(*priority), kind: *kind, session: session.clone(), group: group.clone() }
    }
}

fn waited(demand: &Demand, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(demand.since)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests;
