//! The jobs that have not ended and the containers that belong to them, by id; and how a job is asked to end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use mgx_protocol::{Attempt, JobId, SessionId, SlotId};
use tokio_util::sync::CancellationToken;

use super::Job;
use super::options::{Group, Strategy};

/// Every job that has not ended, or whose container is not gone yet. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveJobs(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    jobs: HashMap<JobId, LiveJob>,
    /// The jobs of each user's groups.
    groups: HashMap<(String, String), BTreeSet<JobId>>,
    containers: HashSet<SlotId>,
}

#[derive(Debug)]
struct LiveJob {
    session: SessionId,
    group: Option<(String, String)>,
    cancel: CancellationToken,
    /// The attempt whose command runs.
    running: Option<Attempt>,
}

/// A container that belongs to a live job, whether or not it has been created yet. The reaper leaves it alone until
/// this is dropped.
#[derive(Debug)]
pub(crate) struct LiveContainer {
    jobs: LiveJobs,
    id: SlotId,
}

impl LiveJobs {
    /// Adds a job. The token that is returned is cancelled when the job is asked to end.
    pub(crate) fn add(&self, job: &Job) -> CancellationToken {
        self.lock().add(job)
    }

    /// Adds a new job if the strategy of its group allows it; with its token come the jobs of the group that are to be
    /// cancelled for it.
    ///
    /// # Errors
    /// The live job of the group, which allows no second one.
    pub(crate) fn add_new(&self, job: &Job) -> Result<(CancellationToken, Vec<JobId>), JobId> {
        let mut inner = self.lock();
        let rivals = match &job.spec.options.group {
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
        Ok((inner.add(job), rivals))
    }

    /// Sets which attempt's command runs, if any.
    pub(crate) fn set_running(&self, job: JobId, attempt: Option<Attempt>) {
        if let Some(live) = self.lock().jobs.get_mut(&job) {
            live.running = attempt;
        }
    }

    /// Removes a job that has ended.
    pub(crate) fn remove(&self, job: JobId) {
        let mut inner = self.lock();
        let Some(group) = inner.jobs.remove(&job).and_then(|live| live.group) else { return };
        if let Some(others) = inner.groups.get_mut(&group) {
            others.remove(&job);
            if others.is_empty() {
                inner.groups.remove(&group);
            }
        }
    }

    /// Asks a job to end. Returns whether it was asked before; `None` if it is not live in this process.
    pub(crate) fn cancel(&self, job: JobId) -> Option<bool> {
        let inner = self.lock();
        let cancel = &inner.jobs.get(&job)?.cancel;
        let before = cancel.is_cancelled();
        cancel.cancel();
        Some(before)
    }

    /// The session of the job, if the command of this `attempt` runs.
    pub(crate) fn session_of(&self, job: JobId, attempt: Attempt) -> Option<SessionId> {
        let inner = self.lock();
        let live = inner.jobs.get(&job)?;
        (live.running == Some(attempt)).then(|| live.session.clone())
    }

    /// Marks a container as belonging to a live job.
    pub(crate) fn mark_container(&self, id: SlotId) -> LiveContainer {
        self.lock().containers.insert(id.clone());
        LiveContainer { jobs: self.clone(), id }
    }

    /// Whether the container belongs to a live job.
    pub(crate) fn has_container(&self, id: &SlotId) -> bool {
        self.lock().containers.contains(id)
    }

    /// How many jobs have not ended.
    pub(crate) fn count(&self) -> usize {
        self.lock().jobs.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl Inner {
    fn add(&mut self, job: &Job) -> CancellationToken {
        let cancel = CancellationToken::new();
        let group = job.spec.options.group.as_ref().map(|group| (job.user.clone(), group.key.clone()));
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

impl LiveContainer {
    /// The slot id under which the runtime knows the container.
    pub(crate) fn id(&self) -> &SlotId {
        &self.id
    }
}

impl Drop for LiveContainer {
    fn drop(&mut self) {
        self.jobs.lock().containers.remove(&self.id);
    }
}
