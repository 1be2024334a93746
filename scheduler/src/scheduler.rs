//! The scheduler's handle: submit, cancel, read, explain, shut down.

pub(crate) mod submission;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mgx_protocol::{Attempt, EventKind, JobId};
use mgx_runtimes::Runtime;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::Config;
use crate::core::Core;
use crate::core::engine::EngineHealth;
use crate::events::run_log::SessionLogs;
use crate::explain::{Explanation, WaitsFor, explain};
use crate::job::Job;
use crate::job::blueprint::Blueprint;
use crate::job::live_jobs::LiveJobs;
use crate::job::state::{Outcome, State};
use crate::journal::event_log::EventLog;
use crate::journal::reader::JobReader;
use crate::journal::{Entry, JobFilter, Journal, JournalError};
use crate::lifecycle::{self, Lifecycle, StartingPoint};
use crate::queue::QueuePosition;
use crate::queue::demand::Demand;
use crate::queue::permits::QueuePermits;
use crate::queue::run_time::RunTimeEstimator;
use crate::queue::slots::Slots;
use crate::recovery;
use crate::recovery::plan::UnfinishedJob;
use crate::recovery::progress::RecoveryProgress;
use crate::recovery::report::RecoveryReport;
use crate::time::clock::Clock;

/// How long it may take until a cancel is in the journal.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts jobs and drives each of them to its terminal state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scheduler {
    core: Arc<Core>,
    recovery: Arc<RecoveryProgress>,
}

/// What a request to cancel did.
#[derive(Clone, Debug)]
pub enum CancelRequest {
    /// The job is asked to end; its final state comes as an event.
    Requested(Job),
    /// It was asked before.
    AlreadyRequested(Job),
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

/// Why a scheduler does not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Commands of unfinished jobs run in containers of another runtime, which this one does not find.
    #[error("{} unfinished jobs run on {runtime}, such as {}", jobs.len(), jobs.first().map_or_else(String::new, ToString::to_string))]
    OtherRuntime {
        /// The other runtime.
        runtime: String,
        /// The jobs.
        jobs: Vec<JobId>,
    },
}

impl Scheduler {
    /// Resumes every job that the journal holds unfinished, and accepts new ones.
    ///
    /// # Errors
    /// [`StartError`]; nothing was changed.
    pub async fn start(
        config: Config,
        clock: Clock,
        journal: Arc<dyn Journal>,
        runtime: Arc<dyn Runtime>,
        blueprint: Arc<dyn Blueprint>,
    ) -> Result<Self, StartError> {
        let mut unfinished = journal.unfinished().await?;
        let elsewhere = unfinished.iter_mut().filter(|job| runs_elsewhere(job, &config));
        if config.gives_up_jobs_of_other_runtimes {
            for job in elsewhere {
                warn!(job = %job.id, runtime = job.runtime, "given up: another runtime has its container");
                // a second run beside a command that may still go on there would be worse than none
                job.spec.options.retry.times = 0;
            }
        } else {
            let elsewhere: Vec<_> = elsewhere.collect();
            if let Some(runtime) = elsewhere.first().and_then(|job| job.runtime.clone()) {
                let jobs = elsewhere.iter().map(|job| job.id).collect();
                return Err(StartError::OtherRuntime { runtime, jobs });
            }
        }
        let permits = QueuePermits::new(config.max_queued, config.max_queued_per_user);
        let slots = Slots::new(config.caps.clone(), config.fairness.clone(), clock.clone());
        let pause = slots.pause_grants();
        let to_recover: Vec<_> = unfinished.iter().map(UnfinishedJob::of).collect();
        let runs = unfinished.iter().filter(|job| job.state.has_command()).count();
        let (progress, results) = RecoveryProgress::new(runs);
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let engine = EngineHealth::new(runtime.clone(), slots.clone(), tasks.clone(), shutdown.clone());
        let core = Arc::new(Core {
            config,
            clock,
            reader: JobReader::new(journal.clone()),
            session_logs: SessionLogs::default(),
            journal,
            runtime,
            blueprint,
            engine,
            permits,
            slots,
            live: LiveJobs::default(),
            run_times: RunTimeEstimator::default(),
            draining: AtomicBool::new(false),
            shutdown,
            tasks,
        });
        let scheduler = Self { core, recovery: Arc::new(progress) };
        let waiting = unfinished.iter().filter(|job| job.state == State::Queued).count();
        if !unfinished.is_empty() {
            info!(waiting, under_way = unfinished.len() - waiting, "resuming unfinished jobs");
        }
        // running jobs take their slots before any waiting job is granted one
        let (runs, waits): (Vec<_>, Vec<_>) = unfinished.into_iter().partition(|job| job.state.has_command());
        for job in runs {
            scheduler.resume_running(job);
        }
        for job in waits {
            scheduler.resume_waiting(&job);
        }
        let (core, progress) = (scheduler.core.clone(), scheduler.recovery.clone());
        scheduler.core.tasks.spawn(recovery::run(core, to_recover, pause, progress, results));
        Ok(scheduler)
    }

    /// What was found of the process before. Resolves when every run is resumed, which an engine that is away delays; never
    /// if a shutdown comes first.
    pub async fn recovery(&self) -> RecoveryReport {
        self.recovery.finished().await
    }

    /// Asks a job to end, whatever its state. Returns when that is in the journal.
    ///
    /// # Errors
    /// [`CancelError`] if there is nothing to end, or it was not in the journal in time: then ask again.
    pub async fn cancel(&self, id: JobId) -> Result<CancelRequest, CancelError> {
        let job = self.job(id).await?.ok_or(CancelError::NotFound)?;
        let mut events = self.log().subscribe(&job.session);
        let asked_before = self.core.live.cancel(id);
        let stopping = async {
            loop {
                let job = self.job(id).await?.ok_or(CancelError::NotFound)?;
                let waits =
                    matches!(job.state, State::Queued | State::Admitted | State::Starting | State::Running);
                if !waits || events.changed().await.is_err() {
                    return Ok::<_, CancelError>(job);
                }
            }
        };
        let late = || JournalError::Unavailable("the end of the job was not stored in time".to_owned());
        let job = timeout(CANCEL_TIMEOUT, stopping).await.map_err(|_| late())??;
        match (job.state.outcome(), asked_before) {
            (Some(outcome), _) if outcome != Outcome::Cancelled => Err(CancelError::Ended(Box::new(job))),
            (Some(_), None) => Err(CancelError::Ended(Box::new(job))),
            (_, Some(true)) => Ok(CancelRequest::AlreadyRequested(job)),
            (_, Some(false) | None) => Ok(CancelRequest::Requested(job)),
        }
    }

    /// What is stored: for callers that do not schedule.
    pub fn reader(&self) -> &JobReader {
        &self.core.reader
    }

    /// One job as it is stored.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        self.core.reader.job(id).await
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        self.core.reader.jobs(filter).await
    }

    /// Where a waiting job stands in the queue; `None` if it is not in it.
    pub fn position(&self, id: JobId) -> Option<QueuePosition> {
        self.core.position(id)
    }

    /// Why a job is in its state.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn explain(&self, id: JobId) -> Result<Option<Explanation>, JournalError> {
        let Some(job) = self.job(id).await? else { return Ok(None) };
        let standing = self.core.slots.standing(id);
        let ahead = standing.as_ref().map_or(0, |standing| standing.ahead);
        let estimate = self.core.run_times.estimate(ahead, self.core.config.caps.running);
        let is_early = job.joins_after(self.core.clock.now()).is_some();
        let mut explained = explain(&job, standing, estimate, is_early, self.core.slots.is_paused());
        if explained.waits_for == WaitsFor::Engine
            && let Some(away) = self.core.engine.away()
        {
            explained.remedy = Some(away.sentence());
        }
        Ok(Some(explained))
    }

    /// Whether the command of this attempt runs: only then are its tokens valid.
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
        let event = self.core.event(job, attempt, kind, data);
        self.core.append(Entry { session, job: None, events: vec![event] }).await
    }

    /// The events of every session.
    pub fn log(&self) -> &EventLog {
        self.core.reader.log()
    }

    /// How many jobs wait and run.
    pub fn load(&self) -> Load {
        let waiting = self.core.slots.waiting();
        Load { waiting, live: self.core.live.count(), taken: self.core.slots.taken() }
    }

    /// Whether new jobs are refused because the platform is shutting down.
    pub fn is_draining(&self) -> bool {
        self.core.is_draining()
    }

    /// Refuses new jobs and starts none. Running jobs go on.
    pub fn drain(&self) {
        self.core.draining.store(true, Ordering::Relaxed);
        self.core.slots.close();
    }

    /// Stops scheduling: pending writes are completed; containers run on without the platform, and the next
    /// [`start`](Self::start) resumes their jobs. Waits for the tasks of all jobs to end, at most for `limit`.
    pub async fn shut_down(&self, limit: Duration) {
        self.drain();
        self.core.shutdown.cancel();
        self.core.tasks.close();
        if tokio::time::timeout(limit, self.core.tasks.wait()).await.is_err() {
            info!("shutting down although tasks of jobs have not ended yet");
        }
    }

    /// Starts the task of a job whose command an earlier process of the platform has begun.
    fn resume_running(&self, job: Job) {
        let (core, user) = (&self.core, Arc::from(job.user.as_str()));
        let slot = core.slots.acquire_unchecked(Demand::of(&job, &user));
        let cancel = core.live.add(&job);
        let progress = self.recovery.clone();
        Lifecycle::new(core.clone(), job, user, cancel).spawn(StartingPoint::Running { slot, progress });
    }

    /// Starts the task of a job that an earlier process of the platform has accepted and not begun to run.
    fn resume_waiting(&self, job: &Job) {
        let core = &self.core;
        let later = job.joins_after(core.clock.now());
        let permit = core.permits.acquire_unchecked(&job.user, later);
        let cancel = core.live.add(job);
        let is_in_queue = job.state == State::Queued && later.is_none();
        let ahead = core.slots.waiting();
        let pending = is_in_queue.then(|| core.slots.enqueue(Demand::of(job, permit.user())));
        lifecycle::spawn_waiting(core, job, ahead, cancel, permit, pending);
    }
}

/// How many jobs wait and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Jobs that wait for a slot.
    pub waiting: usize,
    /// Jobs that have not ended.
    pub live: usize,
    /// Jobs that hold a slot.
    pub taken: usize,
}

/// Whether the command of `job` may run in a container that the runtime of `config` does not find. What an engine runs
/// directly is found by a warm pool on the same engine.
fn runs_elsewhere(job: &Job, config: &Config) -> bool {
    job.state.has_command()
        && job.runtime.as_ref().is_some_and(|runtime| {
            *runtime != config.runtime && Some(runtime.as_str()) != config.runtime.strip_prefix("pool:")
        })
}
