//! What running jobs use, and which limit keeps a waiting job from running. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use mgx_protocol::{JobId, SessionId};
use serde::Serialize;

use super::demand::{Budget, Caps, Demand};
use super::limit_key::{LimitKey, Resource};
use crate::job::Kind;

/// The limit that keeps a job from running now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockingLimit {
    /// Which limit.
    pub limit: LimitKey,
    /// What is used of it.
    pub used: u64,
    /// What this job asks for.
    pub asked: u64,
    /// The limit.
    pub max: u64,
    /// The jobs that use it.
    pub holders: Vec<JobId>,
    /// The jobs that have ended and use it all the same, because the engine cannot remove their containers.
    pub leftovers: Vec<JobId>,
}

/// Identifies what one attempt of a job uses. It is not the job's id: the next attempt may begin before the container of
/// the last one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReservationId(u64);

/// What running jobs use.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    running: BTreeMap<ReservationId, Demand>,
    /// What containers use whose jobs have ended, and which the engine cannot remove.
    leftovers: BTreeMap<ReservationId, Demand>,
    last_reservation: u64,
    host: Totals,
    users: HashMap<Arc<str>, Totals>,
    sessions: HashMap<SessionId, Totals>,
    kinds: HashMap<Kind, Totals>,
    groups: HashMap<Arc<str>, Totals>,
}

/// A limit that a job would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReachedLimit {
    pub(crate) limit: LimitKey,
    used: u64,
    asked: u64,
    max: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    jobs: u64,
    memory_bytes: u64,
    cpu_quota: u64,
    pids: u64,
}

impl Usage {
    pub(crate) fn reserve(&mut self, demand: Demand) -> ReservationId {
        self.change(&demand, Totals::plus);
        self.last_reservation += 1;
        self.running.insert(ReservationId(self.last_reservation), demand);
        ReservationId(self.last_reservation)
    }

    pub(crate) fn release(&mut self, reservation: ReservationId) {
        if let Some(demand) = self.running.remove(&reservation) {
            self.change(&demand, Totals::minus);
        }
        if let Some(demand) = self.leftovers.remove(&reservation) {
            self.host = self.host.minus(&demand);
        }
    }

    /// The job has ended and its container is still there: it counts for the host alone.
    pub(crate) fn keep_for_container(&mut self, reservation: ReservationId) {
        if let Some(demand) = self.running.remove(&reservation) {
            self.change(&demand, Totals::minus);
            self.host = self.host.plus(&demand);
            self.leftovers.insert(reservation, demand);
        }
    }

    /// How many jobs run, and how many containers of jobs that have ended are left.
    pub(crate) fn jobs(&self) -> usize {
        self.running.len() + self.leftovers.len()
    }

    /// Whether `demand` could run if nothing else did.
    pub(crate) fn could_ever_run(demand: &Demand, caps: &Caps) -> bool {
        Self::default().reached_limit(demand, caps).is_none()
    }

    /// How many jobs of `user` run.
    pub(crate) fn jobs_of(&self, user: &str) -> usize {
        self.users.get(user).map_or(0, |total| usize::try_from(total.jobs).unwrap_or(usize::MAX))
    }

    /// The limit on the number of jobs of `user`, if it is reached.
    pub(crate) fn reached_user_limit(&self, user: &str, caps: &Caps) -> Option<ReachedLimit> {
        self.users.get(user).copied().unwrap_or_default().jobs(LimitKey::UserJobs, caps.per_user)
    }

    /// The limit that keeps `demand` from running now, the widest first.
    pub(crate) fn reached_limit(&self, demand: &Demand, caps: &Caps) -> Option<ReachedLimit> {
        let of_kind = caps.per_kind.get(&demand.kind).copied().unwrap_or(usize::MAX);
        let user = self.users.get(&demand.user).copied().unwrap_or_default();
        let session = self.sessions.get(&demand.session).copied().unwrap_or_default();
        let kind = self.kinds.get(&demand.kind).copied().unwrap_or_default();
        let group = demand.group.as_ref().and_then(|group| self.groups.get(group)).copied();
        (self.host.jobs(LimitKey::Running, caps.running))
            .or_else(|| kind.jobs(LimitKey::Kind(demand.kind), of_kind))
            .or_else(|| self.host.resources(LimitKey::Host, &caps.host, demand))
            .or_else(|| user.jobs(LimitKey::UserJobs, caps.per_user))
            .or_else(|| user.resources(LimitKey::User, &caps.user, demand))
            .or_else(|| session.resources(LimitKey::Session, &caps.session, demand))
            .or_else(|| group.and_then(|group| group.jobs(LimitKey::Group, 1)))
    }

    /// The same, with the jobs that use it up.
    pub(crate) fn blocking_limit(&self, demand: &Demand, caps: &Caps) -> Option<BlockingLimit> {
        let ReachedLimit { limit, used, asked, max } = self.reached_limit(demand, caps)?;
        let holders = self.running.values().filter(|other| counts_against(limit, demand, other));
        let holders = holders.map(|holder| holder.job).collect();
        let leftovers = self.leftovers.values().filter(|_| is_of_the_host(limit));
        let leftovers = leftovers.map(|leftover| leftover.job).collect();
        Some(BlockingLimit { limit, used, asked, max, holders, leftovers })
    }

    fn change(&mut self, demand: &Demand, change: fn(Totals, &Demand) -> Totals) {
        self.host = change(self.host, demand);
        update(&mut self.users, &demand.user, demand, change);
        update(&mut self.sessions, &demand.session, demand, change);
        update(&mut self.kinds, &demand.kind, demand, change);
        if let Some(group) = &demand.group {
            update(&mut self.groups, group, demand, change);
        }
    }
}

/// Changes the total of `key`, and forgets one that has come to nothing.
fn update<K: Clone + Eq + Hash>(
    totals: &mut HashMap<K, Totals>,
    key: &K,
    demand: &Demand,
    change: fn(Totals, &Demand) -> Totals,
) {
    let total = change(totals.get(key).copied().unwrap_or_default(), demand);
    if total.jobs == 0 {
        totals.remove(key);
    } else {
        totals.insert(key.clone(), total);
    }
}

impl Totals {
    fn plus(self, demand: &Demand) -> Self {
        Self {
            jobs: self.jobs + 1,
            memory_bytes: self.memory_bytes + demand.need.memory_bytes,
            cpu_quota: self.cpu_quota + demand.need.cpu_quota,
            pids: self.pids + u64::from(demand.need.pids),
        }
    }

    fn minus(self, demand: &Demand) -> Self {
        Self {
            jobs: self.jobs.saturating_sub(1),
            memory_bytes: self.memory_bytes.saturating_sub(demand.need.memory_bytes),
            cpu_quota: self.cpu_quota.saturating_sub(demand.need.cpu_quota),
            pids: self.pids.saturating_sub(demand.need.pids.into()),
        }
    }

    fn jobs(self, limit: LimitKey, max: usize) -> Option<ReachedLimit> {
        ReachedLimit::if_over(limit, self.jobs, 1, u64::try_from(max).unwrap_or(u64::MAX))
    }

    fn resources(
        self,
        of: fn(Resource) -> LimitKey,
        budget: &Budget,
        demand: &Demand,
    ) -> Option<ReachedLimit> {
        use Resource as R;
        let need = demand.need;
        ReachedLimit::if_over(of(R::Memory), self.memory_bytes, need.memory_bytes, budget.memory_bytes)
            .or_else(|| ReachedLimit::if_over(of(R::Cpu), self.cpu_quota, need.cpu_quota, budget.cpu_quota))
            .or_else(|| ReachedLimit::if_over(of(R::Pids), self.pids, need.pids.into(), budget.pids))
    }
}

impl ReachedLimit {
    /// Whether it is a limit of the whole host: other jobs may overtake one that waits for it only for a while.
    pub(crate) fn is_of_the_host(self) -> bool {
        is_of_the_host(self.limit)
    }

    fn if_over(limit: LimitKey, used: u64, asked: u64, max: u64) -> Option<Self> {
        (used.saturating_add(asked) > max).then_some(Self { limit, used, asked, max })
    }
}

fn is_of_the_host(limit: LimitKey) -> bool {
    match limit {
        LimitKey::Running | LimitKey::Host(_) => true,
        LimitKey::Kind(_)
        | LimitKey::UserJobs
        | LimitKey::User(_)
        | LimitKey::Session(_)
        | LimitKey::Group => false,
    }
}

/// Whether `other` counts against the same limit as `demand`.
fn counts_against(limit: LimitKey, demand: &Demand, other: &Demand) -> bool {
    match limit {
        LimitKey::Running | LimitKey::Host(_) => true,
        LimitKey::Kind(kind) => kind == other.kind,
        LimitKey::UserJobs | LimitKey::User(_) => demand.user == other.user,
        LimitKey::Session(_) => demand.session == other.session,
        LimitKey::Group => demand.group == other.group,
    }
}
