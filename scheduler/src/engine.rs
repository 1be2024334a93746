//! Whether the container engine answers. While it does not, nobody is given a turn, and one task asks for everybody.

use std::sync::Arc;
use std::time::Duration;

use mgx_runtimes::{RuntimeError, RuntimeErrorKind};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::core::{Backoff, Core};

/// The first and the longest pause between two questions to an engine that is away.
const PAUSE: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// What is known of the engine. It answers until a call has shown that it does not.
#[derive(Debug)]
pub(crate) struct Engine {
    is_away: watch::Sender<bool>,
}

impl Default for Engine {
    fn default() -> Self {
        Self { is_away: watch::Sender::new(false) }
    }
}

impl Engine {
    /// Resolves when the engine answers, as far as is known: at once, if nothing else is.
    pub(crate) async fn answers(&self) {
        // the sender lives in here
        self.is_away.subscribe().wait_for(|is_away| !is_away).await.ok();
    }
}

impl Core {
    /// Takes note of a failed call. If the engine is away, or hangs, nobody is given a turn until it answers again.
    pub(crate) fn note(self: &Arc<Self>, error: &RuntimeError) {
        if is_away(error.kind()) && !self.engine.is_away.send_replace(true) {
            warn!(%error, "the container engine is away; what runs goes on, what waits is held");
            self.tasks.spawn(ask(Arc::clone(self)));
        }
    }
}

/// Asks until the engine answers, and holds the line meanwhile.
async fn ask(core: Arc<Core>) {
    let hold = core.slots.hold();
    let began = Instant::now();
    let mut pause = Backoff::new(PAUSE[0], PAUSE[1]);
    let answer = async {
        while let Err(error) = core.runtime.info().await {
            debug!(%error, "the container engine does not answer");
            pause.wait().await;
        }
    };
    tokio::select! {
        () = answer => {}
        () = core.shutdown.cancelled() => return,
    }
    info!(after_ms = began.elapsed().as_millis(), "the container engine answers again");
    core.engine.is_away.send_replace(false);
    drop(hold);
}

/// Whether it is the engine that has to come back, and not the call that was wrong.
fn is_away(kind: RuntimeErrorKind) -> bool {
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
