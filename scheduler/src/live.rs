//! The jobs that have not ended: what others may know of them, and how they are told to end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use mgx_protocol::{Attempt, JobId, SessionId, SlotId};
use tokio_util::sync::CancellationToken;

use crate::job::Job;
use crate::terms::{Group, Strategy};

/// Every job that has not ended, or whose container is not gone yet. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveJobs(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    jobs: HashMap<JobId, LiveJob>,
    /// The jobs of each user's groups.
    groups: HashMap<(String, String), BTreeSet<JobId>>,
    slots: HashSet<SlotId>,
}

#[derive(Debug)]
struct LiveJob {
    session: SessionId,
    group: Option<(String, String)>,
    cancel: CancellationToken,
    /// The attempt whose command runs.
    running: Option<Attempt>,
}

/// A slot that may hold a container of ours; the reaper leaves it alone until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    jobs: LiveJobs,
    slot: SlotId,
}

impl LiveJobs {
    /// Enters a job; the token asks for its end.
    pub(crate) fn enter(&self, job: &Job) -> CancellationToken {
        self.lock().enter(job)
    }

    /// Enters a new job if its group takes it, and says which of the group's jobs are to end for it.
    ///
    /// # Errors
    /// The job that the group has, and that it takes no second beside.
    pub(crate) fn enter_new(&self, job: &Job) -> Result<(CancellationToken, Vec<JobId>), JobId> {
        let mut inner = self.lock();
        let rivals = match &job.spec.terms.group {
            None | Some(Group { strategy: Strategy::Queue, .. }) => Vec::new(),
            Some(Group { key, strategy: Strategy::CancelInProgress }) => {
                inner.of_group(&job.user, key).collect()
            }
            Some(Group { key, strategy: Strategy::CancelNewest }) => {
                match inner.of_group(&job.user, key).next() {
                    Some(holder) => return Err(holder),
                    None => Vec::new(),
                }
            }
        };
        Ok((inner.enter(job), rivals))
    }

    /// Notes which attempt's command runs, if any.
    pub(crate) fn set_running(&self, job: JobId, attempt: Option<Attempt>) {
        if let Some(live) = self.lock().jobs.get_mut(&job) {
            live.running = attempt;
        }
    }

    pub(crate) fn leave(&self, job: JobId) {
        let mut inner = self.lock();
        let Some(group) = inner.jobs.remove(&job).and_then(|live| live.group) else { return };
        if let Some(others) = inner.groups.get_mut(&group) {
            others.remove(&job);
            if others.is_empty() {
                inner.groups.remove(&group);
            }
        }
    }

    /// Asks for the end of a job. Whether it was asked before; `None` if it is not here.
    pub(crate) fn cancel(&self, job: JobId) -> Option<bool> {
        let inner = self.lock();
        let cancel = &inner.jobs.get(&job)?.cancel;
        let before = cancel.is_cancelled();
        cancel.cancel();
        Some(before)
    }

    /// The session of a job whose `attempt` runs.
    pub(crate) fn session_of(&self, job: JobId, attempt: Attempt) -> Option<SessionId> {
        let inner = self.lock();
        let live = inner.jobs.get(&job)?;
        (live.running == Some(attempt)).then(|| live.session.clone())
    }

    /// Claims a slot.
    pub(crate) fn claim(&self, slot: SlotId) -> Claim {
        self.lock().slots.insert(slot.clone());
        Claim { jobs: self.clone(), slot }
    }

    pub(crate) fn has_claimed(&self, slot: &SlotId) -> bool {
        self.lock().slots.contains(slot)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().jobs.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl Inner {
    fn enter(&mut self, job: &Job) -> CancellationToken {
        let cancel = CancellationToken::new();
        let group = job.spec.terms.group.as_ref().map(|group| (job.user.clone(), group.key.clone()));
        if let Some(group) = &group {
            self.groups.entry(group.clone()).or_default().insert(job.id);
        }
        let live = LiveJob { session: job.session.clone(), group, cancel: cancel.clone(), running: None };
        self.jobs.insert(job.id, live);
        cancel
    }

    /// The jobs of a user's group, oldest first.
    fn of_group(&self, user: &str, group: &str) -> impl Iterator<Item = JobId> {
        self.groups.get(&(user.to_owned(), group.to_owned())).into_iter().flatten().copied()
    }
}

impl Claim {
    pub(crate) fn slot(&self) -> &SlotId {
        &self.slot
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.jobs.lock().slots.remove(&self.slot);
    }
}
