//! One job, from its place in the queue to its end. Read from top to bottom: this is the order in which things happen.
//!
//! Each job has one task, and that task is the only writer of the job. Every change is in the journal before anything is
//! done that cannot be undone: the run before its invocation, the end before it is announced. `waiting.rs` is about the
//! wait for a slot, `start.rs` about the container, `record.rs` about the journal; a job that an earlier process of the
//! platform has begun to run goes on in `resume.rs`. `supervisor.rs` ends a job whose task panics.

mod exit_outcome;
mod record;
mod resume;
mod start;
mod supervisor;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::{EventKind, SlotId};
use mgx_runtimes::{Command, Ended, Output, Run};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::core::{Core, OwnershipLost};
use crate::events::event::NewEvent;
use crate::events::redact::{Redactor, StreamRedactor};
use crate::events::run_log::RunLogQuota;
use crate::job::live_jobs::LiveContainer;
use crate::job::state::{Failure, Outcome, State, Transition};
use crate::job::{ExitStatus, Job, ProviderWait};
use crate::queue::permits::QueuePermit;
use crate::queue::slots::{PendingSlot, Slot};
use crate::recovery::progress::RecoveryProgress;
use exit_outcome::ExitOutcome;
use record::RetryPlan;
use start::Started;
use waiting::Waited;
pub(crate) use waiting::spawn_waiting;

/// How many events are stored in one write.
const EVENT_BATCH: usize = 256;
/// How long the runner may take to report a deadline that has passed, or the end after SIGKILL.
const REPORT_GRACE: Duration = Duration::from_millis(500);

/// The longest pause before a provider that is away is asked again, unless the provider asks for a longer one.
const MAX_PROVIDER_PAUSE: Duration = Duration::from_mins(2);

/// Why a job is queued again whose model's provider is away.
const PROVIDER_UNAVAILABLE: &str = "provider_unavailable";

/// The task of one job.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    core: Arc<Core>,
    job: Box<Job>,
    user: Arc<str>,
    cancel: CancellationToken,
    /// How often this process has tried to create a container for it.
    starts: u32,
    /// Events that the next write adds.
    pending_events: Vec<NewEvent>,
    /// What the attempts of the job may still add to the log.
    quota: RunLogQuota,
    /// Whether a model has answered in this attempt.
    has_reply: bool,
    /// When the command of this attempt must have ended. Elapsed time: the machine's clock may be set meanwhile.
    deadline: Instant,
}

/// How far the job has come when its task begins.
#[derive(Debug)]
pub(crate) enum StartingPoint {
    /// It waits. The permit counts it among the waiting jobs for as long as it does. It is in the queue already, unless
    /// it starts later or an earlier process had granted it a slot.
    Waiting { permit: QueuePermit, pending: Option<PendingSlot> },
    /// Its command runs already, on this slot.
    Running { slot: Slot, progress: Arc<RecoveryProgress> },
}

/// What follows an attempt.
enum AfterAttempt {
    /// The job returns to the queue after this pause.
    Retry(Duration),
    /// The job has ended.
    Ended,
}

/// What a job holds while it has a container.
struct Allocation {
    slot: Slot,
    container: LiveContainer,
    since: Instant,
    /// Hides the secrets in the environment of the job's command.
    redactor: Redactor,
}

/// Whether an event is a reply of a model: the provider is there.
fn is_reply(event: &NewEvent) -> bool {
    event.kind == EventKind::MessageComplete && event.data.get("role").is_some_and(|role| role == "assistant")
}

impl Lifecycle {
    pub(crate) fn new(core: Arc<Core>, job: Job, user: Arc<str>, cancel: CancellationToken) -> Self {
        let (starts, pending_events, quota) = (0, Vec::new(), RunLogQuota::default());
        let (has_reply, deadline) = (false, Instant::now());
        Self { core, job: Box::new(job), user, cancel, starts, pending_events, quota, has_reply, deadline }
    }

    /// Starts the task of the job. If it panics, the job ends as failed.
    pub(crate) fn spawn(self, from: StartingPoint) {
        let (core, job) = (self.core.clone(), self.job.id);
        supervisor::spawn(&core, job, self.run(from));
    }

    /// Drives the job to its terminal state.
    async fn run(mut self, from: StartingPoint) {
        // waiting jobs are many, so their futures are kept small; those of running jobs are few, and boxed
        let driven = match (from, self.job.state) {
            (StartingPoint::Running { slot, progress }, _) => {
                Box::pin(self.resume_run(slot, &progress)).await
            }
            (StartingPoint::Waiting { mut permit, pending }, State::Queued) => {
                let waited = match pending {
                    Some(pending) => self.wait_for(pending).await,
                    None => Box::pin(self.wait_for_start(&mut permit)).await,
                };
                drop(permit);
                Box::pin(self.drive(waited)).await
            }
            // an earlier process had granted it a slot, and may have created its container, but no command ran in it
            (
                StartingPoint::Waiting { permit, .. },
                State::Admitted | State::Starting | State::Running | State::Stopping(_) | State::Ended(_),
            ) => {
                drop(permit);
                Box::pin(self.start_over(None)).await
            }
        };
        if driven.is_ok() {
            self.core.live.remove(self.job.id);
        }
    }

    /// Drives the job to its terminal state from the end of its first wait.
    async fn drive(&mut self, mut waited: Waited) -> Result<(), OwnershipLost> {
        loop {
            let after = match waited {
                Waited::OwnershipLost => return Err(OwnershipLost),
                Waited::Ended(outcome) => return self.end(outcome, None, None).await,
                Waited::Granted(slot) => match self.start(slot).await? {
                    Started::Running(allocation, run) => self.follow(allocation, run).await?,
                    Started::Failed(after) => after,
                },
            };
            match after {
                AfterAttempt::Ended => return Ok(()),
                AfterAttempt::Retry(pause) => waited = self.wait(pause).await,
            }
        }
    }

    /// Follows the run: stores its events until it ends, and stops it at its deadline or when it is cancelled.
    async fn follow(&mut self, allocation: Allocation, mut run: Run) -> Result<AfterAttempt, OwnershipLost> {
        // the runner keeps the deadline itself, and gets the time to report it, or an end just before it
        let deadline = self.deadline + REPORT_GRACE;
        let mut lost_at = match self.job.state {
            State::Stopping(outcome) => Some(self.request_stop(outcome, &run).await?),
            State::Queued | State::Admitted | State::Starting | State::Running | State::Ended(_) => None,
        };
        self.has_reply = false;
        let mut redactor = StreamRedactor::new(allocation.redactor.clone());
        let ended = loop {
            let stopping = lost_at.is_some();
            tokio::select! {
                // in this order, so that a flood of events delays neither a cancel nor a deadline
                biased;
                () = self.core.shutdown.cancelled() => return Err(OwnershipLost),
                () = sleep_until(lost_at.unwrap_or(deadline)), if stopping => break Ended::Lost,
                () = self.cancel.cancelled(), if !stopping => {
                    lost_at = Some(self.request_stop(Outcome::Cancelled, &run).await?);
                }
                () = sleep_until(deadline), if !stopping => {
                    lost_at = Some(self.request_stop(Outcome::TimedOut, &run).await?);
                }
                outputs = run.next(EVENT_BATCH) => {
                    if let Some(ended) = self.store(outputs, &mut redactor, &run).await? {
                        break ended;
                    }
                }
            }
        };
        self.core.live.set_running(self.job.id, None);
        self.core.run_times.observe(allocation.since.elapsed());
        if self.has_reply {
            // an outage that begins now is another one
            self.job.provider_wait = None;
        }
        let mut outcome = ExitOutcome::of(&ended);
        if let Some(error) = &mut outcome.error {
            redactor.replace(error);
        }
        match ended {
            // No process of the job is left, so its end is announced at once. The empty container keeps its slot until
            // it is gone, so that the limits hold for containers too.
            Ended::Reported(_) => {
                let after = self.retry_or_end(outcome).await?;
                run.tell(Command::Dismiss).await;
                let core = self.core.clone();
                let remove = async move { core.remove(allocation.container, Some(allocation.slot)).await };
                self.core.tasks.spawn(remove);
                Ok(after)
            }
            Ended::Died { .. } | Ended::Restarted | Ended::Lost => {
                self.release(allocation).await?;
                self.retry_or_end(outcome).await
            }
        }
    }

    /// Asks the command to end. Returns when the run counts as lost if the runner has not reported its end by then.
    async fn request_stop(&mut self, outcome: Outcome, run: &Run) -> Result<Instant, OwnershipLost> {
        if matches!(self.job.state, State::Running) {
            self.commit_transition(Transition::Stop(outcome)).await?;
        }
        run.tell(Command::Stop(self.core.config.grace)).await;
        Ok(Instant::now() + self.core.config.grace + REPORT_GRACE)
    }

    /// Stores events durably, then acknowledges them to the runner. Returns how the run ended, if it has.
    async fn store(
        &mut self,
        outputs: Vec<Output>,
        redactor: &mut StreamRedactor,
        run: &Run,
    ) -> Result<Option<Ended>, OwnershipLost> {
        let mut reported = Vec::with_capacity(outputs.len());
        let (mut newest, mut ended) = (None, None);
        for output in outputs {
            match output {
                Output::Event(mut event) => {
                    newest = Some(event.seq);
                    redactor.event(&mut event);
                    let is_team = self.job.spec.command.is_empty();
                    let admitted = exit_outcome::admit(self.job.id, self.job.attempt, is_team, event);
                    self.has_reply |= is_reply(&admitted.event);
                    reported.push(admitted);
                }
                Output::Ended(how) => ended = Some(how),
            }
        }
        if let Some(newest) = newest {
            if !self.quota.is_open() {
                self.quota.open(self.core.session_log(&self.job.session).await);
            }
            let events =
                self.quota.admit(reported, self.core.config.history, self.core.config.history_per_job);
            if !events.is_empty() {
                self.write(None, events).await?;
            }
            run.tell(Command::Ack(newest)).await;
        }
        Ok(ended)
    }

    /// Runs the job once more if its failure and its `retry` allow it, and ends it otherwise.
    async fn retry_or_end(&mut self, outcome: ExitOutcome) -> Result<AfterAttempt, OwnershipLost> {
        let ExitOutcome { outcome, exit, error, resume_after } = outcome;
        // only the platform's own team is believed: a command could stay in the queue for ever
        let resume_after = resume_after.filter(|_| self.job.spec.command.is_empty());
        if let (State::Running, Some(pause)) = (self.job.state, resume_after) {
            return self.wait_for_provider(pause, exit, error).await;
        }
        if let (State::Running, Outcome::Failed(failure)) = (self.job.state, outcome)
            && failure.is_transient()
            && let Some(pause) = self.job.spec.options.retry.pause(self.job.runs)
        {
            let of = 1 + self.job.spec.options.retry.times;
            let plan = RetryPlan { reason: failure.name(), tries: Some((self.job.runs, of)), pause };
            self.requeue(&plan).await?;
            return Ok(AfterAttempt::Retry(pause));
        }
        self.end(outcome, exit, error).await?;
        Ok(AfterAttempt::Ended)
    }

    /// Returns the job to the queue until its model's provider is there again, unless it has been away for too long.
    async fn wait_for_provider(
        &mut self,
        pause: Duration,
        exit: Option<ExitStatus>,
        error: Option<String>,
    ) -> Result<AfterAttempt, OwnershipLost> {
        let now = self.core.clock.now();
        let before = self.job.provider_wait.as_ref();
        let since = before.map_or(now, |wait| wait.since);
        let doubled = before.map_or(Duration::ZERO, |wait| 2 * Duration::from_millis(wait.pause_ms));
        let pause = pause.max(doubled.min(MAX_PROVIDER_PAUSE));
        let until = now.checked_add(pause).unwrap_or(Timestamp::MAX);
        let reason = error.unwrap_or_else(|| "the model's provider is away".to_owned());
        let waited = Duration::try_from(until.duration_since(since)).unwrap_or_default();
        let limit = self.core.config.max_provider_outage;
        if waited > limit {
            let error = format!(
                "{reason} (the provider was away for longer than llm.max_outage, {} s)",
                limit.as_secs()
            );
            self.end(Outcome::Failed(Failure::ProviderUnavailable), exit, Some(error)).await?;
            return Ok(AfterAttempt::Ended);
        }
        // a command that ended while the platform was away ended by its deadline
        let ended_at = self.job.deadline_at.map_or(now, |deadline| deadline.min(now));
        let by_clock = || {
            let start = self.job.started_at?;
            Duration::try_from(ended_at.duration_since(start)).ok()
        };
        // what has passed by the machine's uptime, which cannot be set
        let ran = self.job.started_up.and_then(|then| self.core.clock.elapsed_since(then)).or_else(by_clock);
        let ran_ms = ran.map_or(0, |ran| u64::try_from(ran.as_millis()).unwrap_or(u64::MAX));
        self.job.ran_ms = self.job.ran_ms.saturating_add(ran_ms);
        if self.job.ran_ms >= u64::from(self.job.spec.timeout_s) * 1000 {
            self.end(Outcome::TimedOut, exit, None).await?;
            return Ok(AfterAttempt::Ended);
        }
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.job.provider_wait = Some(ProviderWait { since, until, pause_ms, reason });
        self.requeue(&RetryPlan { reason: PROVIDER_UNAVAILABLE, tries: None, pause }).await?;
        Ok(AfterAttempt::Retry(pause))
    }

    /// Ends the job: its final state and its one `finish` event, in one write.
    async fn end(
        &mut self,
        outcome: Outcome,
        exit: Option<ExitStatus>,
        error: Option<String>,
    ) -> Result<(), OwnershipLost> {
        self.transition(Transition::End(outcome));
        self.follow_clock_change();
        record::set_end(&mut self.job, self.core.clock.now(), exit, error);
        self.record_event(EventKind::Finish, record::finish_data(&self.job));
        self.flush().await?;
        info!(job = %self.job.id, state = %self.job.state.name(), reason = self.job.state.reason(), "a job has ended");
        Ok(())
    }

    /// Removes the container, waits until it is gone, and returns the slot.
    async fn release(&self, allocation: Allocation) -> Result<(), OwnershipLost> {
        self.core.remove(allocation.container, Some(allocation.slot)).await;
        if self.core.shutdown.is_cancelled() { Err(OwnershipLost) } else { Ok(()) }
    }

    /// Removes a container in a task of its own.
    fn remove_later(&self, container: LiveContainer) {
        let core = self.core.clone();
        self.core.tasks.spawn(async move { core.remove(container, None).await });
    }

    /// Marks the container of this attempt as belonging to a live job.
    fn mark_container(&self) -> LiveContainer {
        self.core.live.mark_container(SlotId::of(self.job.id, self.job.attempt))
    }
}
