//! What a job needs while it runs, and what all jobs together may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId};
use mgx_runtimes::Limits;

use crate::job::{Job, Kind};

/// What a job needs while it runs, and what its place in the queue depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) job: JobId,
    pub(crate) user: Arc<str>,
    pub(crate) session: SessionId,
    pub(crate) kind: Kind,
    pub(crate) priority: u8,
    /// Jobs of one group run one at a time.
    pub(crate) group: Option<Arc<str>>,
    pub(crate) need: Limits,
    pub(crate) since: Timestamp,
}

/// What may run at a time. What is not limited is `usize::MAX` or `u64::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Jobs in all.
    pub running: usize,
    /// Jobs of one user.
    pub per_user: usize,
    /// Jobs of a kind; any number of one that is not here.
    pub per_kind: BTreeMap<Kind, usize>,
    /// What all jobs together may use.
    pub host: Budget,
    /// What the jobs of one user may use.
    pub user: Budget,
    /// What the jobs of one session may use.
    pub session: Budget,
}

/// Resources that may be used at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Microseconds of processor time in each period of 100 ms.
    pub cpu_quota: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl Budget {
    /// No limit.
    pub const UNLIMITED: Self = Self { memory_bytes: u64::MAX, cpu_quota: u64::MAX, pids: u64::MAX };
}

impl Caps {
    /// `running` jobs at a time, and no other limit.
    #[must_use]
    pub fn of(running: usize) -> Self {
        Self {
            running,
            per_user: usize::MAX,
            per_kind: BTreeMap::new(),
            host: Budget::UNLIMITED,
            user: Budget::UNLIMITED,
            session: Budget::UNLIMITED,
        }
    }
}

impl Demand {
    pub(crate) fn of(job: &Job, user: &Arc<str>) -> Self {
        Self {
            job: job.id,
            user: user.clone(),
            session: job.session.clone(),
            kind: job.spec.kind,
            priority: job.spec.options.priority,
            // groups belong to their users: a user cannot hold up another one by using the same key
            group: job.spec.options.group.as_ref().map(|group| format!("{user}/{}", group.key).into()),
            need: job.spec.limits,
            since: job.queued_at,
        }
    }
}
