//! What every engine's containers have in common: how they are made, taken up again and removed, whoever the engine is.
//!
//! An engine says in [`Containers`] how it does each step, and nothing else; in which order the steps come, and what
//! happens when one fails, is told here once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use mgx_protocol::Invocation;
use mgx_protocol::SlotId;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::deaths::Deaths;
use crate::engine::deadline;
use crate::link::Links;
use crate::{
    ContainerSpec, Ended, EngineInfo, Listed, Parked, Parking, Placement, Run, Runtime, RuntimeError,
    RuntimeErrorKind,
};

/// How long a started container may take until its runner has called.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How long a container that is just ending is left alone.
const ENDING: Duration = Duration::from_millis(20);

/// How much of a failed container's log an error tells, in bytes.
pub(crate) const MAX_LAST_WORDS: usize = 2048;

/// The steps, as one engine does them with the containers of one instance. Each has a deadline.
#[async_trait]
pub trait Containers: std::fmt::Debug + Send + Sync + 'static {
    /// Makes the container of `placement`, whose link directory is `link`, and does not start it.
    ///
    /// # Errors
    /// `Conflict` if there is one; any other error leaves none, or one that may be removed.
    async fn create(
        &self,
        spec: &ContainerSpec,
        placement: &Placement,
        link: &Path,
    ) -> Result<(), RuntimeError>;

    /// Looks whether it has every wall that was asked for.
    ///
    /// # Errors
    /// `Refused` if it has not.
    async fn inspect(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError>;

    /// Starts it.
    ///
    /// # Errors
    /// The engine's.
    async fn start(&self, slot: &SlotId) -> Result<(), RuntimeError>;

    /// How it ended, if it has been started and does not run.
    ///
    /// # Errors
    /// `NotFound` if there is none, or the engine does not say.
    async fn ended(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError>;

    /// The end of its log, at most about [`MAX_LAST_WORDS`]; empty if there is none.
    async fn last_words(&self, slot: &SlotId) -> String;

    /// Kills and deletes it. Succeeds if there is none.
    ///
    /// # Errors
    /// `Conflict` if it is just ending by itself: try again. Any other is the engine's: it may still be there.
    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError>;

    /// All of them.
    ///
    /// # Errors
    /// The engine's.
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError>;

    /// Whether the engine answers.
    ///
    /// # Errors
    /// It does not.
    async fn ping(&self) -> Result<(), RuntimeError>;

    /// What the engine is.
    ///
    /// # Errors
    /// It does not answer.
    async fn info(&self) -> Result<EngineInfo, RuntimeError>;

    /// Their ends as they happen, from now on or from a moment that an earlier stream has told.
    ///
    /// # Errors
    /// The engine's.
    async fn ends(&self, since: Option<i64>) -> Result<EndStream, RuntimeError>;
}

/// Ends, until the engine goes away. An engine may leave some out, tell them late or twice.
pub type EndStream = BoxStream<'static, Result<End, RuntimeError>>;

/// That a container has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// Whose; `None` if that cannot be told, and the next look at the list has to find it.
    pub of: Option<(SlotId, Ended)>,
    /// When, by the engine's clock, in nanoseconds since 1970.
    pub at: Option<i64>,
}

/// The runtime of an engine.
#[derive(Debug)]
pub struct Contained<C> {
    containers: Arc<C>,
    links: Links,
    deaths: Deaths<C>,
}

impl<C: Containers> Contained<C> {
    /// The runtime of `containers`, whose runners call at `links`.
    pub fn new(containers: C, links: Links) -> Self {
        let containers = Arc::new(containers);
        Self { deaths: Deaths::new(Arc::clone(&containers)), containers, links }
    }

    /// The engine.
    pub(crate) fn containers(&self) -> &Arc<C> {
        &self.containers
    }

    async fn boot(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        self.containers.inspect(spec, placement).await?;
        self.deaths.expect(slot);
        self.containers.start(slot).await?;
        tokio::select! {
            ready = self.links.ready(slot, READY_LIMIT) => ready.map(drop),
            ended = self.deaths.of(slot) => Err(self.stillborn(slot, &ended).await),
        }
    }

    /// The error that tells why a container ended before its runner was ready.
    async fn stillborn(&self, slot: &SlotId, ended: &Ended) -> RuntimeError {
        let mut words = self.containers.last_words(slot).await;
        words.truncate(words.floor_char_boundary(MAX_LAST_WORDS));
        let how = match ended {
            Ended::Died { code } => format!("with code {code}"),
            Ended::Reported(_) | Ended::Lost => "without a trace".to_owned(),
        };
        let message = format!(
            "the container ended {how} before its runner was ready; its last words: {:?}",
            words.trim()
        );
        RuntimeError::new(RuntimeErrorKind::NotReady, message)
    }
}

#[async_trait]
impl<C: Containers> Runtime for Contained<C> {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        let link = self.links.open(slot)?;
        let booted = match self.containers.create(spec, placement, &link).await {
            Err(error) if error.kind() == RuntimeErrorKind::Conflict => {
                // Somebody else's container has this name, and maybe this directory: leave both alone.
                self.links.release(slot);
                return Err(error);
            }
            Err(error) => Err(error),
            Ok(()) => self.boot(spec, placement).await,
        };
        if let Err(error) = &booted {
            debug!(%slot, %error, "the container did not become ready");
            self.remove(slot).await.unwrap_or_else(|error| warn!(%slot, %error, "a container is left over"));
            self.links.close(slot);
        }
        booted
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        self.links.start(slot, invocation, self.deaths.of(slot))
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        // expected before it is looked at, so that there is no moment in which it could end unseen
        self.deaths.expect(slot);
        match self.containers.ended(slot).await {
            Ok(None) => {}
            Ok(Some(ended)) => return Ok(Run::over(ended)),
            Err(error) => {
                self.deaths.forget(slot);
                return Err(error);
            }
        }
        // Whoever listened before is cut off, and the runner calls anew.
        self.links.release(slot);
        self.links.open(slot)?;
        match self.links.ready(slot, READY_LIMIT).await {
            Ok(true) => self.links.resume(slot, self.deaths.of(slot)),
            Ok(false) => {
                let message = format!("the container of slot {slot} never heard its invocation");
                Err(RuntimeError::new(RuntimeErrorKind::NotInvoked, message))
            }
            Err(error) => match self.containers.ended(slot).await? {
                Some(ended) => Ok(Run::over(ended)),
                None => Err(error),
            },
        }
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let patience = Instant::now() + deadline::KILL;
        loop {
            match self.containers.remove(slot).await {
                Err(error) if error.kind() == RuntimeErrorKind::Conflict && Instant::now() < patience => {
                    tokio::time::sleep(ENDING).await;
                }
                removed => break removed?,
            }
        }
        self.links.close(slot);
        self.deaths.forget(slot);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.containers.list().await
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.containers.info().await
    }
}

#[async_trait]
impl<C: Containers> Parking for Contained<C> {
    async fn park(&self, slot: &SlotId, left: Arc<Notify>) -> Result<Parked, RuntimeError> {
        self.links.park(slot, left)
    }
}

/// What a container is called.
pub(crate) fn name(slot: &SlotId) -> String {
    format!("mgx-{slot}")
}
