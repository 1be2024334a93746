//! What is in use, by whom, and what that keeps from running. Pure.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use mgx_protocol::{JobId, SessionId};
use serde::Serialize;

use crate::demand::{Budget, Caps, Demand};
use crate::job::Kind;

/// What keeps a job from running now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// Which limit: `running`, `per_user`, `per_kind.build`, `host.memory_bytes`, `group`, …
    pub limit: String,
    /// What is used of it.
    pub used: u64,
    /// What this job asks for.
    pub asked: u64,
    /// What there is.
    pub max: u64,
    /// The jobs that use it.
    pub holders: Vec<JobId>,
}

/// One demand that was met. Not the job: its next attempt may begin before the last container is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What is in use.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    running: BTreeMap<Ticket, Demand>,
    tickets: u64,
    host: Sum,
    users: HashMap<Arc<str>, Sum>,
    sessions: HashMap<SessionId, Sum>,
    kinds: HashMap<Kind, Sum>,
    groups: HashMap<Arc<str>, Sum>,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) limit: Limit,
    used: u64,
    asked: u64,
    max: u64,
}

/// What limits how much may run; its text is its key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    /// Jobs in all.
    Running,
    /// Jobs of a kind.
    Kind(Kind),
    /// What all jobs together use.
    Host(Resource),
    /// Jobs of a user.
    UserJobs,
    /// What the jobs of a user use.
    User(Resource),
    /// What the jobs of a session use.
    Session(Resource),
    /// One job of a group.
    Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    Memory,
    Cpu,
    Pids,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    jobs: u64,
    memory_bytes: u64,
    cpu_quota: u64,
    pids: u64,
}

impl Usage {
    pub(crate) fn take(&mut self, demand: Demand) -> Ticket {
        self.sums(&demand, Sum::plus);
        self.tickets += 1;
        self.running.insert(Ticket(self.tickets), demand);
        Ticket(self.tickets)
    }

    pub(crate) fn give_back(&mut self, ticket: Ticket) {
        if let Some(demand) = self.running.remove(&ticket) {
            self.sums(&demand, Sum::minus);
        }
    }

    pub(crate) fn jobs(&self) -> usize {
        self.running.len()
    }

    /// How many jobs of `user` run.
    pub(crate) fn jobs_of(&self, user: &str) -> usize {
        self.users.get(user).map_or(0, |sum| usize::try_from(sum.jobs).unwrap_or(usize::MAX))
    }

    /// What keeps every job of `user` from running now.
    pub(crate) fn is_user_full(&self, user: &str, caps: &Caps) -> Option<Obstacle> {
        self.users.get(user).copied().unwrap_or_default().jobs(Limit::UserJobs, caps.per_user)
    }

    /// What keeps `demand` from running now, the widest limit first.
    pub(crate) fn obstacle(&self, demand: &Demand, caps: &Caps) -> Option<Obstacle> {
        let of_kind = caps.per_kind.get(&demand.kind).copied().unwrap_or(usize::MAX);
        let user = self.users.get(&demand.user).copied().unwrap_or_default();
        let session = self.sessions.get(&demand.session).copied().unwrap_or_default();
        let kind = self.kinds.get(&demand.kind).copied().unwrap_or_default();
        let group = demand.group.as_ref().and_then(|group| self.groups.get(group)).copied();
        (self.host.jobs(Limit::Running, caps.running))
            .or_else(|| kind.jobs(Limit::Kind(demand.kind), of_kind))
            .or_else(|| self.host.resources(Limit::Host, &caps.host, demand))
            .or_else(|| user.jobs(Limit::UserJobs, caps.per_user))
            .or_else(|| user.resources(Limit::User, &caps.user, demand))
            .or_else(|| session.resources(Limit::Session, &caps.session, demand))
            .or_else(|| group.and_then(|group| group.jobs(Limit::Group, 1)))
    }

    /// The same, with the jobs that stand in the way.
    pub(crate) fn binding(&self, demand: &Demand, caps: &Caps) -> Option<Binding> {
        let Obstacle { limit, used, asked, max } = self.obstacle(demand, caps)?;
        let holders = self.running.values().filter(|other| limit.covers(demand, other));
        let holders = holders.map(|holder| holder.job).collect();
        Some(Binding { limit: limit.to_string(), used, asked, max, holders })
    }

    fn sums(&mut self, demand: &Demand, change: fn(Sum, &Demand) -> Sum) {
        self.host = change(self.host, demand);
        update(&mut self.users, &demand.user, demand, change);
        update(&mut self.sessions, &demand.session, demand, change);
        update(&mut self.kinds, &demand.kind, demand, change);
        if let Some(group) = &demand.group {
            update(&mut self.groups, group, demand, change);
        }
    }
}

/// Changes the sum of `key`, and forgets one that has come to nothing.
fn update<K: Clone + Eq + Hash>(
    sums: &mut HashMap<K, Sum>,
    key: &K,
    demand: &Demand,
    change: fn(Sum, &Demand) -> Sum,
) {
    let sum = change(sums.get(key).copied().unwrap_or_default(), demand);
    if sum.jobs == 0 {
        sums.remove(key);
    } else {
        sums.insert(key.clone(), sum);
    }
}

impl Sum {
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

    fn jobs(self, limit: Limit, max: usize) -> Option<Obstacle> {
        Obstacle::if_over(limit, self.jobs, 1, u64::try_from(max).unwrap_or(u64::MAX))
    }

    fn resources(self, of: fn(Resource) -> Limit, budget: &Budget, demand: &Demand) -> Option<Obstacle> {
        use Resource as R;
        let need = demand.need;
        Obstacle::if_over(of(R::Memory), self.memory_bytes, need.memory_bytes, budget.memory_bytes)
            .or_else(|| Obstacle::if_over(of(R::Cpu), self.cpu_quota, need.cpu_quota, budget.cpu_quota))
            .or_else(|| Obstacle::if_over(of(R::Pids), self.pids, need.pids.into(), budget.pids))
    }
}

impl Obstacle {
    /// Whether it is one for everybody: then nobody behind may overtake for long.
    pub(crate) fn is_of_the_host(self) -> bool {
        match self.limit {
            Limit::Running | Limit::Host(_) => true,
            Limit::Kind(_) | Limit::UserJobs | Limit::User(_) | Limit::Session(_) | Limit::Group => false,
        }
    }

    fn if_over(limit: Limit, used: u64, asked: u64, max: u64) -> Option<Self> {
        (used.saturating_add(asked) > max).then_some(Self { limit, used, asked, max })
    }
}

impl Limit {
    /// Whether `other` uses up what `demand` asks for.
    fn covers(self, demand: &Demand, other: &Demand) -> bool {
        match self {
            Self::Running | Self::Host(_) => true,
            Self::Kind(kind) => kind == other.kind,
            Self::UserJobs | Self::User(_) => demand.user == other.user,
            Self::Session(_) => demand.session == other.session,
            Self::Group => demand.group == other.group,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Kind(kind) => write!(f, "per_kind.{kind}"),
            Self::Host(resource) => write!(f, "host.{resource}"),
            Self::UserJobs => f.write_str("per_user"),
            Self::User(resource) => write!(f, "user.{resource}"),
            Self::Session(resource) => write!(f, "session.{resource}"),
            Self::Group => f.write_str("group"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory_bytes",
            Self::Cpu => "cpu_quota",
            Self::Pids => "pids",
        })
    }
}
