//! Submitting jobs: each is refused with a reason, or stored and in the queue when the call returns.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use mgx_protocol::{Attempt, EventKind, JobId, MessageRole, SessionId, StateName};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::Scheduler;
use crate::core::Core;
use crate::events::event::NewEvent;
use crate::job::options::SchedulingOptions;
use crate::job::state::State;
use crate::job::{Job, JobSpec};
use crate::journal::{Entry, JournalError};
use crate::lifecycle;
use crate::queue::QueuePosition;
use crate::queue::demand::Demand;
use crate::queue::permits::{QueueFull, QueuePermit, QueueScope};
use crate::queue::slots::PendingSlot;

/// The least that a client is told to wait.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A request to run a job.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The id it will have; jobs of a user that are equal otherwise go in the order of their ids.
    pub id: JobId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The user who asks.
    pub user: String,
    /// What is asked for.
    pub spec: JobSpec,
}

/// A job that is stored and will run.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The job.
    pub job: Job,
    /// Where it stands in the queue.
    pub position: QueuePosition,
}

/// Why a job was not accepted. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The queue is full.
    #[error("{used} of the queue's {limit} places{} are taken", of_whom(*scope))]
    QueueFull {
        /// Which limit is reached.
        scope: QueueScope,
        /// The limit: `queue.max_queued` or `queue.max_queued_per_user`; it holds for jobs that wait for a slot, and again
        /// for those that start later.
        limit: usize,
        /// How many jobs wait. More than the limit, if that was lowered meanwhile.
        used: usize,
        /// When a place may be free.
        retry_after: Duration,
    },
    /// A job of its group has not ended, and the group allows no second one.
    #[error("job {holder} of the group {group:?} has not ended")]
    GroupBusy {
        /// The group.
        group: String,
        /// The job that has not ended.
        holder: JobId,
    },
    /// The platform is shutting down.
    #[error("the platform is shutting down")]
    Draining,
    /// It could not be stored.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Scheduler {
    /// Stores a job, then lets it wait for a slot.
    ///
    /// # Errors
    /// [`Rejection`]; nothing was stored.
    pub async fn submit(&self, submission: Submission) -> Result<Accepted, Rejection> {
        self.submit_all(vec![submission]).await.pop().expect("each submission has its answer")
    }

    /// The same for many: one result for each, in their order. They are stored together, and join the queue together.
    pub async fn submit_all(&self, submissions: Vec<Submission>) -> Vec<Result<Accepted, Rejection>> {
        let count = submissions.len();
        // in a task of its own: a caller that stops waiting cannot leave a stored job without its task
        let accepting = self.core.tasks.spawn(accept(self.core.clone(), submissions));
        accepting.await.unwrap_or_else(|_| (0..count).map(|_| Err(Rejection::Draining)).collect())
    }
}

fn of_whom(scope: QueueScope) -> &'static str {
    match scope {
        QueueScope::Everyone => "",
        QueueScope::User => " for one user",
        QueueScope::EveryoneLater => " for jobs that start later",
        QueueScope::UserLater => " for jobs of one user that start later",
    }
}

/// When a job is to start, if that is not now.
fn spec_start(core: &Core, spec: &JobSpec) -> Option<Timestamp> {
    spec.options.start_at.filter(|at| *at > core.clock.now())
}

/// A job that is being accepted.
struct NewJob {
    job: Job,
    demand: Demand,
    permit: QueuePermit,
    cancel: CancellationToken,
    /// The jobs of its group that are cancelled when it is stored.
    superseded: Vec<JobId>,
}

async fn accept(core: Arc<Core>, submissions: Vec<Submission>) -> Vec<Result<Accepted, Rejection>> {
    let admitted: Vec<_> =
        submissions.into_iter().map(|submission| NewJob::admit(&core, submission)).collect();
    let mut earlier = 0;
    let storing = admitted.into_iter().map(|job| {
        let stored = job.map(|job| job.store(&core, earlier));
        earlier += usize::from(stored.is_ok());
        async { stored?.await }
    });
    let stored = join_all(storing).await;
    let joined: Vec<_> = stored.into_iter().map(|job| job.map(|job| job.enqueue(&core))).collect();
    // only now, so that of jobs that come together the first in the queue is granted a slot, not the first in the request
    core.slots.grant();
    joined.into_iter().map(|joined| joined.map(|joined| joined.spawn(&core))).collect()
}

impl NewJob {
    /// Checks whether a submission may be accepted.
    fn admit(core: &Core, submission: Submission) -> Result<Self, Rejection> {
        if core.is_draining() {
            return Err(Rejection::Draining);
        }
        let start = spec_start(core, &submission.spec);
        let permit = core.permits.acquire(&submission.user, start).map_err(|full| {
            let QueueFull { scope, limit, used, first_start } = full;
            let retry_after = first_start.map_or_else(|| core.next_slot(), |at| core.clock.until(at));
            Rejection::QueueFull { scope, limit, used, retry_after: retry_after.max(MIN_RETRY_AFTER) }
        })?;
        let Submission { id, session, user, spec } = submission;
        let job = Job {
            id,
            session,
            user,
            spec,
            state: State::Queued,
            attempt: Attempt(1),
            runs: 0,
            queued_at: core.clock.now(),
            started_at: None,
            started_up: None,
            deadline_at: None,
            ended_at: None,
            exit: None,
            error: None,
            provider_wait: None,
            ran_ms: 0,
            runtime: None,
        };
        let added = core.live.add_new(&job);
        let (cancel, superseded) = added.map_err(|holder| {
            let group = job.spec.options.group.as_ref().map_or_else(String::new, |group| group.key.clone());
            Rejection::GroupBusy { group, holder }
        })?;
        let demand = Demand::of(&job, permit.user());
        Ok(Self { job, demand, permit, cancel, superseded })
    }

    /// Stores the job, with how many stood before it: in the queue, and of those that were submitted with it.
    async fn store(self, core: &Core, earlier: usize) -> Result<Self, Rejection> {
        let Job { id, attempt, queued_at, .. } = self.job;
        let ahead = core.slots.ahead_of(&self.demand) + earlier;
        let event = NewEvent {
            at: queued_at,
            job: id,
            attempt,
            source: None,
            kind: EventKind::Job(StateName::Queued),
            agent: None,
            data: queued_data(&self.job.spec, ahead),
        };
        let mut events = vec![event];
        events.extend(prompt_event(&self.job));
        let entry = Entry { session: self.job.session.clone(), job: Some(self.job.clone()), events };
        match core.append(entry).await {
            Ok(()) => Ok(self),
            Err(error) => {
                core.live.remove(id);
                Err(error.into())
            }
        }
    }

    /// Adds the job to the queue, unless it starts later.
    fn enqueue(self, core: &Core) -> StoredJob {
        let Self { job, demand, permit, cancel, superseded } = self;
        for older in superseded {
            core.live.cancel(older);
        }
        let later = job.joins_after(core.clock.now());
        let pending = later.is_none().then(|| core.slots.enqueue(demand));
        StoredJob { job, permit, cancel, pending }
    }
}

/// A job that is stored, and in the queue unless it starts later.
struct StoredJob {
    job: Job,
    permit: QueuePermit,
    cancel: CancellationToken,
    pending: Option<PendingSlot>,
}

impl StoredJob {
    /// Starts the task of the job.
    fn spawn(self, core: &Arc<Core>) -> Accepted {
        let Self { job, permit, cancel, pending } = self;
        let early = job.joins_at().filter(|_| pending.is_none());
        let pause = early.map_or(Duration::ZERO, |at| core.clock.until(at));
        let of_a_later_start =
            || QueuePosition { ahead: 0, eta_ms: Some(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)) };
        let position = core.position(job.id).unwrap_or_else(of_a_later_start);
        lifecycle::spawn_waiting(core, &job, position.ahead, cancel, permit, pending);
        Accepted { job, position }
    }
}

/// The user's message that begins a team's job. A command has none, and a job that continues another one has had it.
fn prompt_event(job: &Job) -> Option<NewEvent> {
    let is_said = job.spec.command.is_empty() && job.spec.continues.is_empty() && !job.spec.prompt.is_empty();
    is_said.then(|| NewEvent {
        at: job.queued_at,
        job: job.id,
        attempt: job.attempt,
        source: None,
        kind: EventKind::MessageComplete,
        agent: None,
        data: Map::from_iter([
            ("role".to_owned(), json!(MessageRole::User)),
            ("content".to_owned(), json!(job.spec.prompt)),
        ]),
    })
}

/// The data of the `job_queued` event: what the job's place in the queue depends on.
fn queued_data(spec: &JobSpec, ahead: usize) -> Map<String, Value> {
    let SchedulingOptions { priority, group, start_at, queue_ttl_s: _, retry: _ } = &spec.options;
    let mut data = Map::from_iter([
        ("kind".to_owned(), json!(spec.kind)),
        ("priority".to_owned(), json!(priority)),
        ("ahead".to_owned(), json!(ahead)),
    ]);
    data.extend(group.iter().map(|group| ("group".to_owned(), json!(group.key))));
    data.extend(start_at.iter().map(|at| ("start_at".to_owned(), json!(at))));
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Kind;
    use crate::job::options::{Group, Strategy};
    use jiff::Timestamp;
    use mgx_runtimes::Limits;

    #[test]
    fn the_event_of_an_accepted_job_says_what_its_place_depends_on() {
        let group = Some(Group { key: "deploy".to_owned(), strategy: Strategy::Queue });
        let options = SchedulingOptions {
            priority: 7,
            group,
            start_at: Some(Timestamp::UNIX_EPOCH),
            ..SchedulingOptions::default()
        };
        let spec = JobSpec {
            kind: Kind::Build,
            prompt: "a secret".to_owned(),
            command: Vec::new(),
            env: [("KEY".to_owned(), "a secret".to_owned())].into(),
            workdir: String::new(),
            limits: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
            timeout_s: 60,
            options,
            continues: Vec::new(),
        };
        insta::assert_compact_json_snapshot!(queued_data(&spec, 3), @r#"{"ahead": 3, "group": "deploy", "kind": "build", "priority": 7, "start_at": "1970-01-01T00:00:00Z"}"#);
    }
}
