//! How containers end: one stream of the engine's events tells it of all of them, and a look at the whole list tells
//! what a stream that broke, or never spoke, has kept to itself.
//!
//! Nothing is concluded from silence. That a container is gone counts when the engine says so, twice: in its list,
//! and when it is asked for this one; and how it ended may be told a little later than that it is gone.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use mgx_protocol::SlotId;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::contained::{Containers, End};
use crate::{Ended, RuntimeError, RuntimeErrorKind};

/// How often the whole list is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How long what an engine has to say of a container that it has removed may be on its way: Podman's events are read from
/// a file, and come a tenth of a second late.
const ECHO: Duration = Duration::from_millis(500);

/// The first and the longest pause before an engine that was lost is tried again.
const PAUSE: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Who waits for the end of which container. When this is dropped, nobody is told anything any more.
pub(crate) struct Deaths<C> {
    containers: Arc<C>,
    expected: Arc<Expected>,
    /// Begun with the first container, so that a platform without any leaves the engine alone.
    watching: OnceLock<AbortOnDropHandle<()>>,
}

/// The containers that are there as far as we know, and how each of them ended, once it has.
#[derive(Default)]
struct Expected(Mutex<HashMap<SlotId, watch::Sender<Option<Ended>>>>);

impl<C: Containers> Deaths<C> {
    /// The ends of `containers`.
    pub(crate) fn new(containers: Arc<C>) -> Self {
        Self { containers, expected: Arc::default(), watching: OnceLock::new() }
    }

    /// From now on the end of the container of `slot`, which is there, is noticed.
    pub(crate) fn expect(&self, slot: &SlotId) {
        self.expected.lock().entry(slot.clone()).or_default();
        self.watching.get_or_init(|| {
            let watch = Watch {
                containers: Arc::clone(&self.containers),
                expected: Arc::clone(&self.expected),
                newest: None,
                missing: HashSet::new(),
            };
            AbortOnDropHandle::new(tokio::spawn(watch.run()))
        });
    }

    /// The container of `slot` has been removed, or was never there.
    pub(crate) fn forget(&self, slot: &SlotId) {
        self.expected.lock().remove(slot);
    }

    /// Resolves when the container of `slot`, which is expected, has ended or is not there any more.
    pub(crate) fn of(&self, slot: &SlotId) -> impl Future<Output = Ended> + Send + 'static {
        let expected = self.expected.lock();
        let mut notice = expected.get(slot).map(watch::Sender::subscribe);
        async move {
            let Some(notice) = &mut notice else { return Ended::Lost };
            // nobody is left to tell it: it was removed
            notice.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone()).unwrap_or(Ended::Lost)
        }
    }
}

impl<C> fmt::Debug for Deaths<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deaths").finish_non_exhaustive()
    }
}

impl Expected {
    /// Says how the container of `slot` ended. What is said first counts.
    fn tell(&self, slot: &SlotId, ended: Ended) {
        if let Some(notice) = self.lock().get(slot) {
            notice.send_if_modified(|known| {
                let is_first = known.is_none();
                known.get_or_insert(ended);
                is_first
            });
        }
    }

    /// Those whose end nobody knows yet.
    fn alive(&self) -> Vec<SlotId> {
        let expected = self.lock();
        expected
            .iter()
            .filter(|(_, notice)| notice.borrow().is_none())
            .map(|(slot, _)| slot.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, watch::Sender<Option<Ended>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one that watches.
struct Watch<C> {
    containers: Arc<C>,
    expected: Arc<Expected>,
    /// When the newest event happened, by the engine's clock, in nanoseconds since 1970.
    newest: Option<i64>,
    /// Those that were gone at the last look, for the first time.
    missing: HashSet<SlotId>,
}

impl<C: Containers> Watch<C> {
    /// Watches for ever. An engine that is away or hangs is asked again, by nobody but us.
    async fn run(mut self) {
        let [first, longest] = PAUSE;
        let mut pause = first;
        loop {
            let mut heard = false;
            let error = self.listen(&mut heard).await;
            if heard {
                pause = first;
                warn!(%error, "the engine's events have ceased");
            } else {
                debug!(%error, "the engine's events cannot be heard");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// One stream of ends, from where the last one broke, until this one does; `heard` says that the engine spoke.
    async fn listen(&mut self, heard: &mut bool) -> RuntimeError {
        let mut ends = match self.containers.ends(self.newest).await {
            Ok(ends) => ends,
            Err(error) => return error,
        };
        // the first look comes after the stream was asked for, and a second soon afterwards
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                end = ends.next() => match end {
                    Some(Ok(end)) => self.hear(end),
                    Some(Err(error)) => return error,
                    None => return RuntimeError::new(RuntimeErrorKind::Unavailable, "the engine went away"),
                },
                _ = look.tick() => {
                    match self.look().await {
                        Ok(true) => look.reset_after(ECHO),
                        Ok(false) if !*heard => look.reset_after(LOOK / 5),
                        Ok(false) => {}
                        Err(error) => return error,
                    }
                    *heard = true;
                }
            }
        }
    }

    /// Late ones and those that come twice do no harm: a slot has one container, ever.
    fn hear(&mut self, end: End) {
        self.newest = self.newest.max(end.at);
        if let Some((slot, ended)) = end.of {
            self.expected.tell(&slot, ended);
        }
    }

    /// Compares the engine's list with what is expected to be alive. Says whether to look again soon: one that is gone
    /// without a trace may just have been removed, and how it ended is still on its way.
    async fn look(&mut self) -> Result<bool, RuntimeError> {
        let alive = self.expected.alive();
        if alive.is_empty() {
            // whoever comes after this is seen by the stream that listens already
            self.missing.clear();
            return self.containers.ping().await.map(|()| false);
        }
        let listed = self.containers.list().await?;
        let listed: HashMap<_, _> = listed.into_iter().map(|listed| (listed.slot, listed.running)).collect();
        let mut gone = HashSet::new();
        for slot in alive.into_iter().filter(|slot| listed.get(slot) != Some(&true)) {
            match self.end_of(&slot).await? {
                Some(Ended::Lost) if !self.missing.contains(&slot) => drop(gone.insert(slot)),
                Some(ended) => {
                    info!(%slot, "a container has ended unheard");
                    self.expected.tell(&slot, ended);
                }
                None => {}
            }
        }
        self.missing = gone;
        Ok(!self.missing.is_empty())
    }

    /// How the container of `slot` ended, if it does not run and is not about to; [`Ended::Lost`] if there is none.
    async fn end_of(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError> {
        match self.containers.ended(slot).await {
            Err(error) if error.kind() == RuntimeErrorKind::NotFound => Ok(Some(Ended::Lost)),
            answer => answer,
        }
    }
}
