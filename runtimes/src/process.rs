//! Processes instead of containers, for development and chaos tests only: they are isolated from NOTHING.
//!
//! A slot is a directory. In it a shell keeps the runner: it waits for it and writes down how it ended, so that the
//! platform may die meanwhile. Limits, the network and the image of a [`ContainerSpec`] mean nothing here.

mod place;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use mgx_protocol::SlotId;
use mgx_protocol::{Invocation, WORKSPACE_DIR};
use tracing::{debug, warn};

use crate::link::Links;
use crate::{
    ContainerSpec, EngineInfo, Listed, Placement, Run, Runtime, RuntimeError, RuntimeErrorKind, Workspace,
};
use place::{Place, Places};

/// How long a started runner may take until it has called.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How often a runner that has not called yet is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Where the runner is, and where the slots are.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The agent-runner.
    pub runner: PathBuf,
    /// The directory of the slots; made if it is not there, and then closed to everyone else.
    pub slots: PathBuf,
}

/// Runners without containers around them, as the user that the platform runs as.
#[derive(Debug)]
pub struct Process {
    runner: PathBuf,
    places: Places,
    links: Links,
}

impl Process {
    /// A runtime whose runners call at `links`.
    ///
    /// # Errors
    /// The directory of the slots cannot be made.
    pub fn new(config: ProcessConfig, links: Links) -> io::Result<Self> {
        Ok(Self { runner: config.runner, places: Places::new(&config.slots)?, links })
    }

    async fn boot(&self, place: &Place, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        let link = self.links.open(slot)?;
        place.start(slot, &self.runner, &link, placement.workspace.as_ref().map(Workspace::path)).await?;
        tokio::select! {
            ready = self.links.ready(slot, READY_LIMIT) => ready.map(drop),
            () = ended(place) => {
                let message = format!("the runner ended before it was ready; its last words: {:?}", place.last_words());
                Err(RuntimeError::new(RuntimeErrorKind::NotReady, message))
            }
        }
    }
}

#[async_trait]
impl Runtime for Process {
    async fn create(&self, _: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        if !self.runner.is_file() {
            let message = format!("there is no agent-runner at {}", self.runner.display());
            return Err(RuntimeError::new(RuntimeErrorKind::ImageMissing, message));
        }
        let slot = &placement.slot;
        let place = self.places.make(slot)?;
        let booted = self.boot(&place, placement).await;
        if let Err(error) = &booted {
            debug!(%slot, %error, "the runner did not become ready");
            self.remove(slot).await.unwrap_or_else(|error| warn!(%slot, %error, "a slot is left over"));
        }
        booted
    }

    async fn invoke(&self, slot: &SlotId, mut invocation: Invocation) -> Result<Run, RuntimeError> {
        let place = self.places.of(slot);
        if let Some(below) = invocation.workdir.strip_prefix(WORKSPACE_DIR) {
            invocation.workdir = format!("{}{below}", place.workspace().display());
        }
        invocation.env.extend(place.marks());
        self.links.start(slot, invocation, async move { place.death().await })
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        let place = self.places.of(slot);
        if !place.exists() {
            let message = format!("there is nothing in slot {slot}");
            return Err(RuntimeError::new(RuntimeErrorKind::NotFound, message));
        }
        // Whoever listened before is cut off, and the runner calls anew.
        self.links.release(slot);
        if !place.is_alive() {
            return Ok(Run::over(place.death().await));
        }
        self.links.open(slot)?;
        match self.links.ready(slot, READY_LIMIT).await {
            Ok(true) => self.links.resume(slot, async move { place.death().await }),
            Ok(false) => {
                let message = format!("the runner of slot {slot} never heard its invocation");
                Err(RuntimeError::new(RuntimeErrorKind::NotInvoked, message))
            }
            Err(_) if !place.is_alive() => Ok(Run::over(place.death().await)),
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let place = self.places.of(slot);
        place.sweep().await?;
        place.delete()?;
        // whoever was about to start when the first sweep looked
        place.sweep().await?;
        self.links.close(slot);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let slots = self.places.all()?.into_iter();
        Ok(slots.map(|slot| Listed { running: self.places.of(&slot).is_alive(), slot }).collect())
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let version = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(EngineInfo { name: "process".to_owned(), version: format!("linux {}", version.trim()) })
    }
}

/// Resolves when the runner has ended.
async fn ended(place: &Place) {
    while !place.has_ended() {
        tokio::time::sleep(LOOK).await;
    }
}
