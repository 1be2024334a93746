//! What every life of a job shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mgx_protocol::{JobId, SessionId};
use mgx_runtimes::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::blueprint::Blueprint;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::Engine;
use crate::handover::Desk;
use crate::history::{Histories, History, HistorySize};
use crate::journal::{Entry, Journal, JournalError};
use crate::live::{Claim, LiveJobs};
use crate::log::EventLog;
use crate::pace::Pace;
use crate::rooms::Rooms;
use crate::slots::{Slot, Slots};
use crate::submission::Place;

/// What every life of a job shares.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) blueprint: Arc<dyn Blueprint>,
    pub(crate) log: EventLog,
    pub(crate) histories: Histories,
    pub(crate) engine: Engine,
    pub(crate) desk: Desk,
    pub(crate) rooms: Rooms,
    pub(crate) slots: Slots,
    pub(crate) live: LiveJobs,
    pub(crate) pace: Pace,
    pub(crate) draining: AtomicBool,
    /// The platform goes away; what runs goes on without it.
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// Somebody else has decided what becomes of this job.
#[derive(Debug)]
pub(crate) struct Fenced;

impl Core {
    /// Whether new jobs are refused because the platform is shutting down.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Where a job stands in line.
    pub(crate) fn place(&self, job: JobId) -> Option<Place> {
        let (ahead, may_run) = self.slots.place(job)?;
        let eta_ms = if may_run && ahead == 0 { Some(0) } else { self.eta_ms(ahead) };
        Some(Place { ahead, eta_ms })
    }

    /// Milliseconds until the turn of somebody with `ahead` before them.
    pub(crate) fn eta_ms(&self, ahead: usize) -> Option<u64> {
        Some(self.pace.estimate(ahead, self.config.caps.running)?.ms)
    }

    /// Writes to the journal, and rings for whoever follows the session.
    pub(crate) async fn append(&self, entry: Entry) -> Result<(), JournalError> {
        let session = entry.session.clone();
        if let Some(last) = self.journal.write(entry).await?.last() {
            self.log.ring(&session, last.seq);
        }
        Ok(())
    }

    /// The log of a session, to write to. If it cannot be found out how much it holds, it counts as empty: what comes is
    /// bounded all the same.
    pub(crate) async fn history(&self, session: &SessionId) -> Arc<History> {
        if let Some(history) = self.histories.find(session) {
            return history;
        }
        let size = self.journal.size(session).await.unwrap_or_else(|error| {
            warn!(%session, %error, "cannot tell how much the log holds");
            HistorySize::default()
        });
        self.histories.open(session, size)
    }

    /// Writes to the journal, however long that takes: a store that is full or away comes back, and until then
    /// nothing may be announced.
    pub(crate) async fn write(&self, entry: Entry) -> Result<(), Fenced> {
        let mut pause = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
        loop {
            match self.append(entry.clone()).await {
                Ok(()) => return Ok(()),
                Err(JournalError::Fenced) => return Err(Fenced),
                Err(error @ (JournalError::Full | JournalError::Unavailable(_))) => {
                    warn!(session = %entry.session, %error, "cannot write to the journal, trying again");
                    pause.wait().await;
                }
            }
        }
    }

    /// Removes a container, however long that takes, and only then gives back its place.
    pub(crate) async fn remove(self: &Arc<Self>, claim: Claim, slot: Option<Slot>) {
        let mut pause = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        while let Err(error) = self.runtime.remove(claim.slot()).await {
            warn!(slot = %claim.slot(), %error, "cannot remove a container, trying again");
            self.note(&error);
            tokio::select! {
                () = async { pause.wait().await; self.engine.answers().await } => {}
                // the next start of the platform finds it again
                () = self.shutdown.cancelled() => return,
            }
        }
        drop(slot);
    }
}

/// Pauses that double up to a limit.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self { next: first, limit }
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(self.limit);
    }
}
