//! What is in use, by whom, and what that keeps from running. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use mgx_agent_runner::{JobId, SessionId};
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
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    scope: Scope,
    resource: Resource,
    used: u64,
    asked: u64,
    max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Host,
    Kind,
    User,
    Session,
    Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Jobs,
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

    /// What keeps `demand` from running now, the widest limit first.
    pub(crate) fn obstacle(&self, demand: &Demand, caps: &Caps) -> Option<Obstacle> {
        let of_kind = caps.per_kind.get(&demand.kind).copied().unwrap_or(usize::MAX);
        let find = Sum::default;
        let user = self.users.get(&demand.user).copied().unwrap_or_else(find);
        let session = self.sessions.get(&demand.session).copied().unwrap_or_else(find);
        let kind = self.kinds.get(&demand.kind).copied().unwrap_or_else(find);
        (self.host.jobs(Scope::Host, caps.running))
            .or_else(|| kind.jobs(Scope::Kind, of_kind))
            .or_else(|| self.host.resources(Scope::Host, &caps.host, demand))
            .or_else(|| user.jobs(Scope::User, caps.per_user))
            .or_else(|| user.resources(Scope::User, &caps.user, demand))
            .or_else(|| session.resources(Scope::Session, &caps.session, demand))
            .or_else(|| self.is_group_busy(demand).then(Obstacle::group))
    }

    /// The same, with the jobs that stand in the way.
    pub(crate) fn binding(&self, demand: &Demand, caps: &Caps) -> Option<Binding> {
        let obstacle = self.obstacle(demand, caps)?;
        let holders = self.running.values().filter(|other| obstacle.scope.covers(demand, other));
        Some(Binding {
            limit: obstacle.name(demand),
            used: obstacle.used,
            asked: obstacle.asked,
            max: obstacle.max,
            holders: holders.map(|holder| holder.job).collect(),
        })
    }

    fn is_group_busy(&self, demand: &Demand) -> bool {
        demand.group.is_some() && self.running.values().any(|other| other.group == demand.group)
    }

    fn sums(&mut self, demand: &Demand, change: fn(Sum, &Demand) -> Sum) {
        self.host = change(self.host, demand);
        update(&mut self.users, &demand.user, demand, change);
        update(&mut self.sessions, &demand.session, demand, change);
        update(&mut self.kinds, &demand.kind, demand, change);
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

    fn jobs(self, scope: Scope, max: usize) -> Option<Obstacle> {
        Obstacle::if_over(scope, Resource::Jobs, self.jobs, 1, u64::try_from(max).unwrap_or(u64::MAX))
    }

    fn resources(self, scope: Scope, budget: &Budget, demand: &Demand) -> Option<Obstacle> {
        let need = demand.need;
        Obstacle::if_over(scope, Resource::Memory, self.memory_bytes, need.memory_bytes, budget.memory_bytes)
            .or_else(|| {
                Obstacle::if_over(scope, Resource::Cpu, self.cpu_quota, need.cpu_quota, budget.cpu_quota)
            })
            .or_else(|| Obstacle::if_over(scope, Resource::Pids, self.pids, need.pids.into(), budget.pids))
    }
}

impl Obstacle {
    /// Whether it is one for everybody: then nobody behind may overtake for long.
    pub(crate) fn is_of_the_host(self) -> bool {
        self.scope == Scope::Host
    }

    fn if_over(scope: Scope, resource: Resource, used: u64, asked: u64, max: u64) -> Option<Self> {
        (used.saturating_add(asked) > max).then_some(Self { scope, resource, used, asked, max })
    }

    fn group() -> Self {
        Self { scope: Scope::Group, resource: Resource::Jobs, used: 1, asked: 1, max: 1 }
    }

    /// The key of the limit in the configuration.
    fn name(self, demand: &Demand) -> String {
        let resource = match self.resource {
            Resource::Jobs => "jobs",
            Resource::Memory => "memory_bytes",
            Resource::Cpu => "cpu_quota",
            Resource::Pids => "pids",
        };
        match (self.scope, self.resource) {
            (Scope::Host, Resource::Jobs) => "running".to_owned(),
            (Scope::User, Resource::Jobs) => "per_user".to_owned(),
            (Scope::Kind, _) => format!("per_kind.{}", demand.kind),
            (Scope::Group, _) => "group".to_owned(),
            (Scope::Host, _) => format!("host.{resource}"),
            (Scope::User, _) => format!("user.{resource}"),
            (Scope::Session, _) => format!("session.{resource}"),
        }
    }
}

impl Scope {
    /// Whether `other` uses up what `demand` asks for.
    fn covers(self, demand: &Demand, other: &Demand) -> bool {
        match self {
            Self::Host => true,
            Self::Kind => demand.kind == other.kind,
            Self::User => demand.user == other.user,
            Self::Session => demand.session == other.session,
            Self::Group => demand.group == other.group,
        }
    }
}
