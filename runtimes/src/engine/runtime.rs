//! The runtime of any [`ContainerEngine`]: the order of the steps by which containers are made, resumed and removed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mgx_protocol::{Invocation, SlotId};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::exit_watcher::ExitWatcher;
use super::{ContainerEngine, MAX_LOG_TAIL_BYTES, deadline};
use crate::link::{Links, Runner};
use crate::{
    ContainerSpec, Ended, EngineInfo, Listed, Placement, PoolableRuntime, Run, Runtime, RuntimeError,
    RuntimeErrorKind, WarmContainer,
};

/// How long the runner of a started container may take to connect.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// The pause before a container that is just ending is removed again.
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// The runtime of an engine.
#[derive(Debug)]
pub struct EngineRuntime<E> {
    engine: Arc<E>,
    links: Links,
    exits: ExitWatcher<E>,
}

impl<E: ContainerEngine> EngineRuntime<E> {
    /// The runtime of `engine`, whose runners connect to `links`.
    pub fn new(engine: E, links: Links) -> Self {
        let engine = Arc::new(engine);
        Self { exits: ExitWatcher::new(Arc::clone(&engine)), engine, links }
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Arc<E> {
        &self.engine
    }

    async fn boot(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        self.engine.inspect(spec, placement).await?;
        self.exits.watch(slot);
        self.engine.start(slot).await?;
        tokio::select! {
            ready = self.links.ready(slot, READY_LIMIT) => ready.map(drop),
            ended = self.exits.exit_of(slot) => Err(self.startup_error(slot, &ended).await),
        }
    }

    /// The error of a container that ended before its runner had connected.
    async fn startup_error(&self, slot: &SlotId, ended: &Ended) -> RuntimeError {
        let mut log = self.engine.log_tail(slot).await;
        log.truncate(log.floor_char_boundary(MAX_LOG_TAIL_BYTES));
        let how = match ended {
            Ended::Died { code } => format!("with code {code}"),
            Ended::Reported(_) | Ended::Restarted | Ended::Lost => "without an exit code".to_owned(),
        };
        let message = format!(
            "the container ended {how} before its runner was ready; its log ends with: {:?}",
            log.trim()
        );
        RuntimeError::new(RuntimeErrorKind::NotReady, message)
    }
}

#[async_trait]
impl<E: ContainerEngine> Runtime for EngineRuntime<E> {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        let link = self.links.open(slot)?;
        let booted = match self.engine.create(spec, placement, &link).await {
            Err(error) if error.kind() == RuntimeErrorKind::Conflict => {
                // the container of another call has this name and perhaps this directory: both stay
                self.links.release(slot);
                return Err(error);
            }
            Err(error) => Err(error),
            Ok(()) => match self.links.forget_invoked(slot) {
                Ok(()) => self.boot(spec, placement).await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = &booted {
            debug!(%slot, %error, "the container did not become ready");
            self.remove(slot)
                .await
                .unwrap_or_else(|error| warn!(%slot, %error, "cannot remove the container"));
            self.links.close(slot);
        }
        booted
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        self.links.start(slot, invocation, self.exits.exit_of(slot))
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        // watched before it is inspected, so that no exit is missed in between
        self.exits.watch(slot);
        match self.engine.exit_of(slot).await {
            Ok(None) => {}
            Ok(Some(ended)) => return Ok(Run::ended(ended)),
            Err(error) => {
                self.exits.forget(slot);
                return Err(error);
            }
        }
        // ends an earlier run of this process, so that the runner connects again
        self.links.release(slot);
        self.links.open(slot)?;
        match self.links.ready(slot, READY_LIMIT).await {
            Ok(Runner::Invoked) => self.links.resume(slot, self.exits.exit_of(slot)),
            Ok(Runner::Another) => Ok(Run::ended(Ended::Restarted)),
            Ok(Runner::Idle) => {
                let message = format!("the container of slot {slot} has had no invocation");
                Err(RuntimeError::new(RuntimeErrorKind::NotInvoked, message))
            }
            Err(error) => match self.engine.exit_of(slot).await? {
                Some(ended) => Ok(Run::ended(ended)),
                // a paused or throttled container is silent and has not ended: its run goes on when its runner calls
                None if error.kind() == RuntimeErrorKind::NotReady => {
                    warn!(%slot, %error, "the container is there, so its runner is waited for until the deadline");
                    self.links.resume(slot, self.exits.exit_of(slot))
                }
                None => Err(error),
            },
        }
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let give_up_at = Instant::now() + deadline::REMOVE;
        loop {
            match self.engine.remove(slot).await {
                Err(error) if error.kind() == RuntimeErrorKind::Conflict && Instant::now() < give_up_at => {
                    tokio::time::sleep(REMOVE_PAUSE).await;
                }
                removed => break removed?,
            }
        }
        self.links.close(slot);
        self.exits.forget(slot);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.engine.list().await
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.engine.info().await
    }
}

#[async_trait]
impl<E: ContainerEngine> PoolableRuntime for EngineRuntime<E> {
    async fn keep_warm(
        &self,
        slot: &SlotId,
        disconnected: Arc<Notify>,
    ) -> Result<WarmContainer, RuntimeError> {
        self.links.keep_warm(slot, disconnected)
    }
}
