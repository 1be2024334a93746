//! What the tasks of all jobs share.

pub(crate) mod engine;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mgx_protocol::{Attempt, EventKind, JobId, SessionId, event_form};
use mgx_runtimes::Runtime;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::config::Config;
use crate::core::engine::EngineHealth;
use crate::events::event::NewEvent;
use crate::events::run_log::{HistorySize, SessionLog, SessionLogs};
use crate::job::blueprint::Blueprint;
use crate::job::live_jobs::{LiveContainer, LiveJobs};
use crate::journal::reader::JobReader;
use crate::journal::{Entry, Journal, JournalError};
use crate::queue::QueuePosition;
use crate::queue::permits::QueuePermits;
use crate::queue::run_time::RunTimeEstimator;
use crate::queue::slots::{Slot, Slots};
use crate::time::backoff::Backoff;
use crate::time::clock::Clock;

/// The first pause after a failed write or read of the journal.
const JOURNAL_FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two attempts to write or read the journal.
const JOURNAL_MAX_PAUSE: Duration = Duration::from_secs(2);

/// What the tasks of all jobs share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) reader: JobReader,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) blueprint: Arc<dyn Blueprint>,
    pub(crate) session_logs: SessionLogs,
    pub(crate) engine: EngineHealth,
    pub(crate) permits: QueuePermits,
    pub(crate) slots: Slots,
    pub(crate) live: LiveJobs,
    pub(crate) run_times: RunTimeEstimator,
    pub(crate) draining: AtomicBool,
    /// Cancelled when this process stops scheduling; containers run on without it.
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// This process no longer drives the job: it is shutting down, or another process has taken the job over and the
/// journal refuses the write. Nothing more may be done for the job here.
#[derive(Debug)]
pub(crate) struct OwnershipLost;

impl Core {
    /// Whether new jobs are refused because the platform is shutting down.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Where a waiting job stands in the queue; `None` if it is not in it.
    pub(crate) fn position(&self, job: JobId) -> Option<QueuePosition> {
        let (ahead, may_run) = self.slots.position(job)?;
        let eta_ms = if may_run && ahead == 0 { Some(0) } else { self.eta_ms(ahead) };
        Some(QueuePosition { ahead, eta_ms })
    }

    /// Milliseconds until a job with `ahead` others before it is granted a slot; `None` before any run time was seen.
    pub(crate) fn eta_ms(&self, ahead: usize) -> Option<u64> {
        Some(self.run_times.estimate(ahead, self.config.caps.running)?.ms)
    }

    /// How long it is until a waiting job is granted a slot, as far as that can be known.
    pub(crate) fn next_slot(&self) -> Duration {
        /// An engine that is away comes back after seconds or minutes.
        const WHILE_PAUSED: Duration = Duration::from_secs(30);
        if self.slots.is_paused() {
            return WHILE_PAUSED;
        }
        self.eta_ms(0).map_or(Duration::ZERO, Duration::from_millis)
    }

    /// An event of the platform's own, that happens now.
    pub(crate) fn event(
        &self,
        job: JobId,
        attempt: Attempt,
        kind: EventKind,
        data: Map<String, Value>,
    ) -> NewEvent {
        NewEvent { at: self.clock.now(), job, attempt, source: None, kind, agent: None, data }
    }

    /// Writes to the journal, and notifies the readers that follow the session.
    pub(crate) async fn append(&self, entry: Entry) -> Result<(), JournalError> {
        let session = entry.session.clone();
        for event in entry.events.iter().filter(|event| event.kind.is_platforms() || event.source.is_none()) {
            debug_assert_eq!(
                event_form::check(&event.kind, &event.data),
                Ok(()),
                "event_form.rs has the fields"
            );
        }
        if let Some(last) = self.journal.write(entry).await?.last() {
            self.reader.log().notify(&session, last.seq);
        }
        Ok(())
    }

    /// Writes to the journal, however long that takes: a store that is full or away comes back, and until then
    /// nothing may be announced.
    ///
    /// # Errors
    /// The job has ended, or another process has begun a later attempt.
    pub(crate) async fn write(&self, entry: Entry) -> Result<(), OwnershipLost> {
        let mut backoff = journal_backoff();
        loop {
            match self.append(entry.clone()).await {
                Ok(()) => return Ok(()),
                Err(JournalError::Fenced) => return Err(OwnershipLost),
                Err(error @ (JournalError::Full | JournalError::Unavailable(_))) => {
                    warn!(session = %entry.session, %error, "cannot write to the journal, trying again");
                    backoff.wait().await;
                }
            }
        }
    }

    /// The log of a session, with what it holds. If the store cannot say how much, it counts as empty: the events that
    /// follow are bounded all the same.
    pub(crate) async fn session_log(&self, session: &SessionId) -> Arc<SessionLog> {
        if let Some(log) = self.session_logs.find(session) {
            return log;
        }
        let size = self.journal.size(session).await.unwrap_or_else(|error| {
            warn!(%session, %error, "cannot read how much the log holds");
            HistorySize::default()
        });
        self.session_logs.open(session, size)
    }

    /// Removes a container, however long that takes, and only then returns its slot.
    pub(crate) async fn remove(&self, container: LiveContainer, slot: Option<Slot>) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        while let Err(error) = self.runtime.remove(container.id()).await {
            warn!(slot = %container.id(), %error, "cannot remove a container, trying again");
            self.engine.note_error(&error);
            if let Some(slot) = &slot {
                slot.keep_for_container();
            }
            tokio::select! {
                () = async { backoff.wait().await; self.engine.wait_until_available().await } => {}
                // the next start of the platform finds it again
                () = self.shutdown.cancelled() => return,
            }
        }
        drop(slot);
    }
}

/// The pauses between attempts to write or read the journal.
pub(crate) fn journal_backoff() -> Backoff {
    Backoff::new(JOURNAL_FIRST_PAUSE, JOURNAL_MAX_PAUSE)
}
