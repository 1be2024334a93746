//! The handle: submit, cancel, look, drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mgx_protocol::{Attempt, EventKind, JobId};
use mgx_runtimes::Runtime;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::blueprint::Blueprint;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::Core;
use crate::demand::Demand;
use crate::engine::Engine;
use crate::event::NewEvent;
use crate::explain::{Explanation, explain};
use crate::handover::{self, Desk, Handover, Left};
use crate::history::Histories;
use crate::job::{Job, Outcome, State};
use crate::journal::{Entry, JobFilter, Journal, JournalError};
use crate::lifecycle::{self, Begin, Lifecycle};
use crate::live::LiveJobs;
use crate::log::EventLog;
use crate::pace::Pace;
use crate::rooms::Rooms;
use crate::slots::Slots;
use crate::submission::Place;

/// How long a cancel may take to be written down.
const CANCEL: Duration = Duration::from_secs(5);

/// Accepts jobs and sees each of them to its end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub(crate) core: Arc<Core>,
}

/// What a request to cancel did.
#[derive(Clone, Debug)]
pub enum Cancelling {
    /// The job is being ended; its final state comes as an event.
    Asked(Job),
    /// It was being ended already.
    AlreadyAsked(Job),
}

/// Why a job could not be cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// There is no such job.
    #[error("no such job")]
    NotFound,
    /// It has ended.
    #[error("the job has ended")]
    Ended(Box<Job>),
    /// The store cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Scheduler {
    /// Takes up every job that the journal holds unfinished, then accepts new ones.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn start(
        config: Config,
        clock: Clock,
        journal: Arc<dyn Journal>,
        runtime: Arc<dyn Runtime>,
        blueprint: Arc<dyn Blueprint>,
    ) -> Result<Self, JournalError> {
        let unfinished = journal.unfinished().await?;
        let rooms = Rooms::new(config.max_queued, config.max_queued_per_user);
        let slots = Slots::new(config.caps.clone(), config.fairness.clone(), clock);
        let hold = slots.hold();
        let left: Vec<_> = unfinished.iter().map(Left::of).collect();
        let (desk, came) = Desk::new(unfinished.iter().filter(|job| job.state.has_command()).count());
        let core = Arc::new(Core {
            config,
            clock,
            log: EventLog::new(journal.clone()),
            histories: Histories::default(),
            journal,
            runtime,
            blueprint,
            engine: Engine::default(),
            desk,
            rooms,
            slots,
            live: LiveJobs::default(),
            pace: Pace::default(),
            draining: AtomicBool::new(false),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let scheduler = Self { core };
        let waiting = unfinished.iter().filter(|job| job.state == State::Queued).count();
        if !unfinished.is_empty() {
            info!(waiting, under_way = unfinished.len() - waiting, "taking up what was left unfinished");
        }
        // what runs already takes its slots before anyone who waits is given one
        let (runs, waits): (Vec<_>, Vec<_>) = unfinished.into_iter().partition(|job| job.state.has_command());
        for job in runs {
            scheduler.take_up(job);
        }
        for job in waits {
            scheduler.wait(&job);
        }
        scheduler.core.tasks.spawn(handover::run(scheduler.core.clone(), left, hold, came));
        Ok(scheduler)
    }

    /// What was taken over from the process before. Resolves when that is done, which an engine that is away puts
    /// off; after a shutdown that came first, never.
    pub async fn handover(&self) -> Handover {
        self.core.desk.done().await
    }

    /// Asks for the end of a job, whatever its state. Answers when that is written down.
    ///
    /// # Errors
    /// [`CancelError`] if there is nothing to end, or it could not be written down in time: then ask again.
    pub async fn cancel(&self, id: JobId) -> Result<Cancelling, CancelError> {
        let job = self.job(id).await?.ok_or(CancelError::NotFound)?;
        let mut bell = self.core.log.bell(&job.session);
        let asked_before = self.core.live.cancel(id);
        let stopping = async {
            loop {
                let job = self.job(id).await?.ok_or(CancelError::NotFound)?;
                let waits =
                    matches!(job.state, State::Queued | State::Admitted | State::Starting | State::Running);
                if !waits || bell.changed().await.is_err() {
                    return Ok::<_, CancelError>(job);
                }
            }
        };
        let late = || JournalError::Unavailable("the end of the job was not written down in time".to_owned());
        let job = timeout(CANCEL, stopping).await.map_err(|_| late())??;
        match (job.state.outcome(), asked_before) {
            (Some(outcome), _) if outcome != Outcome::Cancelled => Err(CancelError::Ended(Box::new(job))),
            (Some(_), None) => Err(CancelError::Ended(Box::new(job))),
            (_, Some(true)) => Ok(Cancelling::AlreadyAsked(job)),
            (_, Some(false) | None) => Ok(Cancelling::Asked(job)),
        }
    }

    /// One job as it stands.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        self.core.journal.job(id).await
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        self.core.journal.jobs(filter).await
    }

    /// Where a queued job stands in line.
    pub fn place(&self, id: JobId) -> Option<Place> {
        self.core.place(id)
    }

    /// Why a job is where it is.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn explain(&self, id: JobId) -> Result<Option<Explanation>, JournalError> {
        let Some(job) = self.job(id).await? else { return Ok(None) };
        let standing = self.core.slots.standing(id);
        let ahead = standing.as_ref().map_or(0, |standing| standing.ahead);
        let estimate = self.core.pace.estimate(ahead, self.core.config.caps.running);
        let is_early = job.spec.terms.start_at.is_some_and(|at| at > self.core.clock.now());
        Ok(Some(explain(&job, standing, estimate, is_early, self.core.slots.is_held())))
    }

    /// Whether this attempt is under way: only then do its tokens count.
    pub fn is_live(&self, job: JobId, attempt: Attempt) -> bool {
        self.core.live.session_of(job, attempt).is_some()
    }

    /// Adds an event of the platform's own (say, `llm_usage`) to the log of a live attempt's session.
    ///
    /// # Errors
    /// The store cannot be written, or the attempt is over.
    pub async fn record(
        &self,
        job: JobId,
        attempt: Attempt,
        kind: EventKind,
        data: Map<String, Value>,
    ) -> Result<(), JournalError> {
        let session = self.core.live.session_of(job, attempt).ok_or(JournalError::Fenced)?;
        let at = self.core.clock.now();
        let event = NewEvent { at, job, attempt, source: None, kind, agent: None, data };
        self.core.append(Entry { session, job: None, events: vec![event] }).await
    }

    /// The events of every session.
    pub fn log(&self) -> &EventLog {
        &self.core.log
    }

    /// How full the house is.
    pub fn load(&self) -> Load {
        let waiting = self.core.slots.waiting();
        Load { waiting, live: self.core.live.count(), taken: self.core.slots.taken() }
    }

    /// Whether new jobs are refused because the platform is shutting down.
    pub fn is_draining(&self) -> bool {
        self.core.is_draining()
    }

    /// Refuses new jobs and starts none. What runs goes on.
    pub fn drain(&self) {
        self.core.draining.store(true, Ordering::Relaxed);
        self.core.slots.close();
    }

    /// Lets go of everything: what is being written is written, what runs in containers goes on without the
    /// platform and is taken up by the next [`start`](Self::start). Waits for that as long as `patience` lasts.
    pub async fn shut_down(&self, patience: Duration) {
        self.drain();
        self.core.shutdown.cancel();
        self.core.tasks.close();
        if tokio::time::timeout(patience, self.core.tasks.wait()).await.is_err() {
            info!("shutting down before everything has let go");
        }
    }

    /// Takes up a job whose command an earlier process of the platform has begun.
    fn take_up(&self, job: Job) {
        let (core, user) = (&self.core, Arc::from(job.user.as_str()));
        let slot = core.slots.occupy(Demand::of(&job, &user));
        let cancel = core.live.enter(&job);
        core.tasks.spawn(Lifecycle::new(core.clone(), job, user, cancel).run(Begin::Holding(slot)));
    }

    /// Lets a job wait that an earlier process of the platform has accepted.
    fn wait(&self, job: &Job) {
        let core = &self.core;
        let room = core.rooms.overdraw(&job.user);
        let cancel = core.live.enter(job);
        let is_early = job.spec.terms.start_at.is_some_and(|at| at > core.clock.now());
        let is_in_line = job.state == State::Queued && !is_early;
        let ahead = core.slots.waiting();
        let turn = is_in_line.then(|| core.slots.line_up(Demand::of(job, room.user())));
        lifecycle::wait(core, job, ahead, cancel, room, turn);
    }
}

/// How full the house is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Jobs that wait for a turn.
    pub waiting: usize,
    /// Jobs that have not ended.
    pub live: usize,
    /// Jobs that hold a slot.
    pub taken: usize,
}
