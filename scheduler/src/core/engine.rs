//! Whether the container engine answers. While it does not, no job is granted a slot, and one task asks it for all.

use std::sync::Arc;
use std::time::Duration;

use mgx_runtimes::{Runtime, RuntimeError, RuntimeErrorKind};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::queue::slots::Slots;
use crate::time::backoff::Backoff;

/// The pause after the first unanswered question.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two questions.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Why the engine is away, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    pub(crate) why: String,
    pub(crate) remedy: Option<String>,
}

impl Away {
    fn of(error: &RuntimeError) -> Self {
        Self { why: error.to_string(), remedy: error.remedy() }
    }

    /// The remedy as a sentence for people.
    pub(crate) fn sentence(&self) -> String {
        let Self { why, remedy } = self;
        match remedy {
            Some(remedy) => format!("{remedy} ({why})"),
            None => format!("look at the container engine, and at `mgx doctor` ({why})"),
        }
    }
}

/// Whether the engine answers, as far as calls have shown. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct EngineHealth {
    /// Why the engine is away, if it is.
    away: watch::Sender<Option<Away>>,
    runtime: Arc<dyn Runtime>,
    slots: Slots,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl EngineHealth {
    /// An engine that answers, until a call shows that it does not.
    pub(crate) fn new(
        runtime: Arc<dyn Runtime>,
        slots: Slots,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self { away: watch::Sender::new(None), runtime, slots, tasks, shutdown }
    }

    /// Resolves when the engine answers; at once if no call has failed because it is away.
    pub(crate) async fn wait_until_available(&self) {
        // the sender is a field of this struct, so the channel stays open
        self.away.subscribe().wait_for(Option::is_none).await.ok();
    }

    /// Why the engine is away, if it is.
    pub(crate) fn away(&self) -> Option<Away> {
        self.away.borrow().clone()
    }

    /// Takes note of a failed call. If it failed because the engine is away or hangs, no job is granted a slot until
    /// the engine answers again.
    pub(crate) fn note_error(&self, error: &RuntimeError) {
        if is_unavailable(error.kind()) && self.away.send_replace(Some(Away::of(error))).is_none() {
            let remedy = error.remedy();
            warn!(%error, remedy, "the container engine is away; running jobs go on, waiting jobs are held");
            self.tasks.spawn(self.clone().probe());
        }
    }

    /// Asks until the engine answers, and pauses grants meanwhile.
    async fn probe(self) {
        let pause = self.slots.pause_grants();
        let began = Instant::now();
        let mut backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
        let answer = async {
            while let Err(error) = self.runtime.info().await {
                debug!(%error, "the container engine does not answer");
                self.away.send_replace(Some(Away::of(&error)));
                backoff.wait().await;
            }
        };
        tokio::select! {
            () = answer => {}
            () = self.shutdown.cancelled() => return,
        }
        info!(after_ms = began.elapsed().as_millis(), "the container engine answers again");
        self.away.send_replace(None);
        drop(pause);
    }
}

/// Whether the engine has to come back, rather than the call to be changed.
fn is_unavailable(kind: RuntimeErrorKind) -> bool {
    use RuntimeErrorKind as Kind;
    match kind {
        Kind::Unavailable | Kind::Deadline => true,
        Kind::ImageMissing
        | Kind::OciRuntimeMissing
        | Kind::Conflict
        | Kind::NotReady
        | Kind::NotFound
        | Kind::NotInvoked
        | Kind::Refused => false,
    }
}
