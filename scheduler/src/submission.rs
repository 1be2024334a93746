//! Submissions: each is refused with a reason, or stored and in line when it is answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mgx_protocol::{Attempt, EventKind, JobId, SessionId, StateName};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::demand::Demand;
use crate::event::NewEvent;
use crate::job::{Job, JobSpec, State};
use crate::journal::{Entry, JournalError};
use crate::lifecycle;
use crate::rooms::{Full, QueueScope, Room};
use crate::scheduler::Scheduler;
use crate::slots::Turn;
use crate::terms::Terms;

/// A request to run a job.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The id it will have; its place in the user's line goes by it.
    pub id: JobId,
    /// The session it belongs to.
    pub session: SessionId,
    /// Who asks.
    pub user: String,
    /// What is asked for.
    pub spec: JobSpec,
}

/// A job that is stored and will run.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The job.
    pub job: Job,
    /// Where it stands in line.
    pub place: Place,
}

/// A place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many go before it; 0: it is its turn.
    pub ahead: usize,
    /// Milliseconds until its turn, by the run times seen so far; `None` before any was seen.
    pub eta_ms: Option<u64>,
}

/// Why a job was not accepted. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The line is full.
    #[error("{} of the queue's {limit} places{} are taken", used, match scope { QueueScope::Everyone => "", QueueScope::User => " for one user" })]
    QueueFull {
        /// Whose places are all taken.
        scope: QueueScope,
        /// How many there are: `max_queued` or `max_queued_per_user`.
        limit: usize,
        /// How many jobs wait. More than the limit, if that was lowered meanwhile.
        used: usize,
        /// When there may be room.
        retry_after: Duration,
    },
    /// A job of its group is live, and the group takes no second.
    #[error("job {holder} of the group {group:?} has not ended")]
    GroupBusy {
        /// The group.
        group: String,
        /// The job that is live.
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
    /// Stores a job, then lets it wait for its turn.
    ///
    /// # Errors
    /// [`Rejection`]; nothing was kept.
    pub async fn submit(&self, submission: Submission) -> Result<Accepted, Rejection> {
        self.submit_all(vec![submission]).await.pop().expect("each submission has its answer")
    }

    /// The same for many: one answer for each, in their order. They are stored at once, and join the line at once.
    pub async fn submit_all(&self, submissions: Vec<Submission>) -> Vec<Result<Accepted, Rejection>> {
        let count = submissions.len();
        // in a task of its own, so that a caller who leaves cannot part the record of a job from its life
        let accepting = self.core.tasks.spawn(accept(self.core.clone(), submissions));
        accepting.await.unwrap_or_else(|_| (0..count).map(|_| Err(Rejection::Draining)).collect())
    }
}

/// A job on its way into the line.
struct Newcomer {
    job: Job,
    demand: Demand,
    room: Room,
    cancel: CancellationToken,
    /// The live jobs of its group, which end when it has come in.
    rivals: Vec<JobId>,
}

async fn accept(core: Arc<Core>, submissions: Vec<Submission>) -> Vec<Result<Accepted, Rejection>> {
    let admitted: Vec<_> =
        submissions.into_iter().map(|submission| Newcomer::admit(&core, submission)).collect();
    let mut earlier = 0;
    let storing = admitted.into_iter().map(|newcomer| {
        let stored = newcomer.map(|newcomer| newcomer.store(&core, earlier));
        earlier += usize::from(stored.is_ok());
        async { stored?.await }
    });
    let stored = join_all(storing).await;
    let joined: Vec<_> =
        stored.into_iter().map(|newcomer| newcomer.map(|newcomer| newcomer.line_up(&core))).collect();
    // only now: among those who come together the first in line goes first, not the first in the request
    core.slots.grant();
    joined.into_iter().map(|joined| joined.map(|joined| joined.begin(&core))).collect()
}

impl Newcomer {
    /// Decides whether a submission may come in.
    fn admit(core: &Core, submission: Submission) -> Result<Self, Rejection> {
        if core.is_draining() {
            return Err(Rejection::Draining);
        }
        let room = core.rooms.take(&submission.user).map_err(|Full { scope, limit, used }| {
            let retry_after = Duration::from_millis(core.eta_ms(0).unwrap_or(1_000));
            Rejection::QueueFull { scope, limit, used, retry_after }
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
        };
        let entered = core.live.enter_new(&job);
        let (cancel, rivals) = entered.map_err(|holder| {
            let group = job.spec.terms.group.as_ref().map_or_else(String::new, |group| group.key.clone());
            Rejection::GroupBusy { group, holder }
        })?;
        let demand = Demand::of(&job, room.user());
        Ok(Self { job, demand, room, cancel, rivals })
    }

    /// Stores it, and how many jobs stood before it: in line, and of those that came with it.
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
            data: queued(&self.job.spec, ahead),
        };
        let entry =
            Entry { session: self.job.session.clone(), job: Some(self.job.clone()), events: vec![event] };
        match core.append(entry).await {
            Ok(()) => Ok(self),
            Err(error) => {
                core.live.leave(id);
                Err(error.into())
            }
        }
    }

    /// Joins the line, unless it is to begin later.
    fn line_up(self, core: &Core) -> Joined {
        let Self { job, demand, room, cancel, rivals } = self;
        for rival in rivals {
            core.live.cancel(rival);
        }
        let is_early = job.spec.terms.start_at.is_some_and(|at| at > core.clock.now());
        let turn = (!is_early).then(|| core.slots.line_up(demand));
        Joined { job, room, cancel, turn }
    }
}

/// A job that is stored, and in line.
struct Joined {
    job: Job,
    room: Room,
    cancel: CancellationToken,
    turn: Option<Turn>,
}

impl Joined {
    /// Begins its life.
    fn begin(self, core: &Arc<Core>) -> Accepted {
        let Self { job, room, cancel, turn } = self;
        let early = job.spec.terms.start_at.filter(|_| turn.is_none());
        let pause = early.map_or(Duration::ZERO, |at| core.clock.until(at));
        let at_once =
            || Place { ahead: 0, eta_ms: Some(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)) };
        let place = core.place(job.id).unwrap_or_else(at_once);
        lifecycle::wait(core, &job, place.ahead, cancel, room, turn);
        Accepted { job, place }
    }
}

/// What is told of a job that has been accepted: what its turn goes by.
fn queued(spec: &JobSpec, ahead: usize) -> Map<String, Value> {
    let Terms { priority, group, start_at, queue_ttl_s: _, retry: _ } = &spec.terms;
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
    use crate::terms::{Group, Strategy};
    use jiff::Timestamp;
    use mgx_runtimes::Limits;

    #[test]
    fn what_is_told_of_an_accepted_job_is_what_its_turn_goes_by() {
        let group = Some(Group { key: "deploy".to_owned(), strategy: Strategy::Queue });
        let terms = Terms { priority: 7, group, start_at: Some(Timestamp::UNIX_EPOCH), ..Terms::default() };
        let spec = JobSpec {
            kind: Kind::Build,
            prompt: "a secret".to_owned(),
            command: Vec::new(),
            env: [("KEY".to_owned(), "a secret".to_owned())].into(),
            workdir: String::new(),
            limits: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
            timeout_s: 60,
            terms,
        };
        insta::assert_compact_json_snapshot!(queued(&spec, 3), @r#"{"ahead": 3, "group": "deploy", "kind": "build", "priority": 7, "start_at": "1970-01-01T00:00:00Z"}"#);
    }
}
