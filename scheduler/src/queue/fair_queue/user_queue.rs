//! The waiting jobs of one user, by rank.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use mgx_protocol::{JobId, SessionId};
use mgx_runtimes::Limits;

use crate::job::Kind;
use crate::queue::demand::Demand;

/// The order of a job among those of its user; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Microseconds since 1970.
    pub(super) since: i64,
    pub(super) job: JobId,
}

/// The waiting jobs of one user.
#[derive(Debug, Default)]
pub(super) struct UserQueue {
    /// All of them in the order of their ranks, split by priority: a new job then nearly always goes to the end.
    ranks: BTreeMap<Reverse<u8>, VecDeque<Rank>>,
    lanes: HashMap<Lane, VecDeque<Rank>>,
    /// The first rank of each lane.
    heads: BTreeSet<Rank>,
    len: usize,
}

/// Jobs that differ in nothing but their rank: if the first cannot run, the others cannot either.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Lane {
    priority: u8,
    kind: Kind,
    session: SessionId,
    group: Option<Arc<str>>,
    need: Limits,
}

impl UserQueue {
    pub(super) fn add(&mut self, demand: &Demand, rank: Rank) {
        insert(self.ranks.entry(Reverse(demand.priority)).or_default(), rank);
        let lane = self.lanes.entry(Lane::of(demand)).or_default();
        let first = lane.front().copied();
        insert(lane, rank);
        if first.is_none_or(|first| rank < first) {
            first.map(|first| self.heads.remove(&first));
            self.heads.insert(rank);
        }
        self.len += 1;
    }

    pub(super) fn remove(&mut self, demand: &Demand, rank: Rank) {
        let Some(ranks) = self.ranks.get_mut(&Reverse(demand.priority)) else { return };
        remove(ranks, rank);
        if ranks.is_empty() {
            self.ranks.remove(&Reverse(demand.priority));
        }
        let lane = Lane::of(demand);
        let Some(ranks) = self.lanes.get_mut(&lane) else { return };
        remove(ranks, rank);
        let next = ranks.front().copied();
        if next.is_none() {
            self.lanes.remove(&lane);
        }
        if self.heads.remove(&rank) {
            self.heads.extend(next);
        }
        self.len -= 1;
    }

    /// The first of each lane, in the order of their ranks.
    pub(super) fn heads(&self) -> impl Iterator<Item = JobId> {
        self.heads.iter().map(|rank| rank.job)
    }

    /// How many jobs have a lower rank.
    pub(super) fn before(&self, rank: Rank) -> usize {
        self.ranks.values().map(|ranks| ranks.partition_point(|other| *other < rank)).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Lane {
    fn of(demand: &Demand) -> Self {
        let Demand { priority, kind, session, group, need, .. } = demand;
        Self { priority: *priority, kind: *kind, session: session.clone(), group: group.clone(), need: *need }
    }
}

fn insert(ranks: &mut VecDeque<Rank>, rank: Rank) {
    if let Err(index) = ranks.binary_search(&rank) {
        ranks.insert(index, rank);
    }
}

fn remove(ranks: &mut VecDeque<Rank>, rank: Rank) {
    if let Ok(index) = ranks.binary_search(&rank) {
        ranks.remove(index);
    }
}
