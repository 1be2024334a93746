//! Watches for the exits of containers: one stream of the engine's events reports them, and the list of containers is
//! compared regularly, for exits that a broken stream has not reported.
//!
//! Silence of the engine proves nothing: a container counts as gone only if it is missing in the list and the engine
//! denies it when it is inspected, twice in a row, because its exit may be reported a little after its removal.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use mgx_protocol::SlotId;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::{ContainerEngine, ContainerExit};
use crate::{Ended, RuntimeError, RuntimeErrorKind};

/// How often the list of containers is compared.
const COMPARE_INTERVAL: Duration = Duration::from_secs(5);

/// How long the exit of a container may be reported after its removal: Podman reads events from a file, and reports
/// them a tenth of a second late.
const EVENT_DELAY: Duration = Duration::from_millis(500);

/// The pauses before the event stream is opened again.
const REOPEN: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(1))
    .without_max_times();

/// Watches the containers of one engine. Dropping this ends the task that watches.
pub(super) struct ExitWatcher<E> {
    engine: Arc<E>,
    watched: Arc<WatchedContainers>,
    /// Started with the first container, so that a platform without one makes no calls to the engine.
    task: OnceLock<AbortOnDropHandle<()>>,
}

/// The containers that are watched, and how each ended, once it has.
#[derive(Default)]
struct WatchedContainers(Mutex<HashMap<SlotId, watch::Sender<Option<Ended>>>>);

impl<E: ContainerEngine> ExitWatcher<E> {
    /// A watcher of `engine` that watches no container yet.
    pub(super) fn new(engine: Arc<E>) -> Self {
        Self { engine, watched: Arc::default(), task: OnceLock::new() }
    }

    /// Begins to watch the container of `slot`, which exists.
    pub(super) fn watch(&self, slot: &SlotId) {
        self.watched.lock().entry(slot.clone()).or_default();
        self.task.get_or_init(|| {
            let task = WatchTask {
                engine: Arc::clone(&self.engine),
                watched: Arc::clone(&self.watched),
                newest: None,
                missing: HashSet::new(),
            };
            AbortOnDropHandle::new(tokio::spawn(task.run()))
        });
    }

    /// Ends the watch of `slot`, whose container has been removed or never existed.
    pub(super) fn forget(&self, slot: &SlotId) {
        self.watched.lock().remove(slot);
    }

    /// Resolves when the container of `slot`, which is watched, has ended or is gone.
    pub(super) fn exit_of(&self, slot: &SlotId) -> impl Future<Output = Ended> + Send + 'static {
        let watched = self.watched.lock();
        let mut notice = watched.get(slot).map(watch::Sender::subscribe);
        async move {
            let Some(notice) = &mut notice else { return Ended::Lost };
            // an error means that the watch has ended: the container was removed
            notice.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone()).unwrap_or(Ended::Lost)
        }
    }
}

impl<E> fmt::Debug for ExitWatcher<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitWatcher").finish_non_exhaustive()
    }
}

impl WatchedContainers {
    /// Records how the container of `slot` ended. The first report counts.
    fn record(&self, slot: &SlotId, ended: Ended) {
        if let Some(notice) = self.lock().get(slot) {
            notice.send_if_modified(|known| {
                let is_first = known.is_none();
                known.get_or_insert(ended);
                is_first
            });
        }
    }

    /// The containers that are not known to have ended.
    fn running(&self) -> Vec<SlotId> {
        let watched = self.lock();
        watched.iter().filter(|(_, notice)| notice.borrow().is_none()).map(|(slot, _)| slot.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, watch::Sender<Option<Ended>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that watches.
struct WatchTask<E> {
    engine: Arc<E>,
    watched: Arc<WatchedContainers>,
    /// When the newest event happened, by the engine's clock, in nanoseconds since 1970.
    newest: Option<i64>,
    /// The containers that were gone at the last comparison, for the first time.
    missing: HashSet<SlotId>,
}

impl<E: ContainerEngine> WatchTask<E> {
    /// Watches for ever, also while the engine is away or hangs.
    async fn run(mut self) {
        let mut pauses = REOPEN.build();
        loop {
            let mut has_answered = false;
            let error = self.follow_exits(&mut has_answered).await;
            if has_answered {
                pauses = REOPEN.build();
                warn!(%error, "the engine's event stream has ended");
            } else {
                debug!(%error, "cannot open the engine's event stream");
            }
            tokio::time::sleep(pauses.next().unwrap_or_default()).await;
        }
    }

    /// Follows one stream of exits, from where the last one broke, until it breaks; `has_answered` becomes true when the
    /// engine has answered.
    async fn follow_exits(&mut self, has_answered: &mut bool) -> RuntimeError {
        let mut exits = match self.engine.exits(self.newest).await {
            Ok(exits) => exits,
            Err(error) => return error,
        };
        // the first comparison comes after the stream was opened, and a second soon afterwards
        let mut compare = interval(COMPARE_INTERVAL);
        compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                exit = exits.next() => match exit {
                    Some(Ok(exit)) => self.on_exit(exit),
                    Some(Err(error)) => return error,
                    None => return RuntimeError::new(RuntimeErrorKind::Unavailable, "the engine went away"),
                },
                _ = compare.tick() => {
                    match self.compare_with_list().await {
                        Ok(true) => compare.reset_after(EVENT_DELAY),
                        Ok(false) if !*has_answered => compare.reset_after(COMPARE_INTERVAL / 5),
                        Ok(false) => {}
                        Err(error) => return error,
                    }
                    *has_answered = true;
                }
            }
        }
    }

    /// A report that comes late or twice does no harm, because a slot never has a second container.
    fn on_exit(&mut self, exit: ContainerExit) {
        self.newest = self.newest.max(exit.at);
        if let Some((slot, ended)) = exit.of {
            self.watched.record(&slot, ended);
        }
    }

    /// Compares the engine's list with the containers that should run; whether to compare again soon, because the exit of
    /// a container that is missing may still be reported.
    async fn compare_with_list(&mut self) -> Result<bool, RuntimeError> {
        let running = self.watched.running();
        if running.is_empty() {
            // the stream is open already and reports containers that are added after this
            self.missing.clear();
            return self.engine.ping().await.map(|()| false);
        }
        let listed = self.engine.list().await?;
        let listed: HashMap<_, _> = listed.into_iter().map(|listed| (listed.slot, listed.running)).collect();
        let mut gone = HashSet::new();
        for slot in running.into_iter().filter(|slot| listed.get(slot) != Some(&true)) {
            match self.exit_of(&slot).await? {
                Some(Ended::Lost) if !self.missing.contains(&slot) => drop(gone.insert(slot)),
                Some(ended) => {
                    info!(%slot, "a container has ended without an event");
                    self.watched.record(&slot, ended);
                }
                None => {}
            }
        }
        self.missing = gone;
        Ok(!self.missing.is_empty())
    }

    /// How the container of `slot` ended, if it does not run and is not about to; [`Ended::Lost`] if there is none.
    async fn exit_of(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError> {
        match self.engine.exit_of(slot).await {
            Err(error) if error.kind() == RuntimeErrorKind::NotFound => Ok(Some(Ended::Lost)),
            answer => answer,
        }
    }
}
