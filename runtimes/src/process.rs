//! Processes instead of containers, for development and chaos tests only: they are isolated from NOTHING.
//!
//! A slot is a directory. A shell in it waits for the runner and writes its exit code to a file, so that the platform may
//! be killed meanwhile. Limits, network and image of a [`ContainerSpec`] are ignored.

mod slot_directory;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use mgx_protocol::SlotId;
use mgx_protocol::{Invocation, WORKSPACE_DIR};
use tracing::{debug, warn};

use crate::link::{Links, Runner};
use crate::{
    ContainerSpec, Ended, EngineInfo, Listed, Placement, Run, Runtime, RuntimeError, RuntimeErrorKind,
    Workspace,
};
use slot_directory::{SlotDirectories, SlotDirectory};

/// How long a started runner may take to connect.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How often it is checked whether a runner that has not connected has ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Where the runner is, and where the slots are.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The agent-runner.
    pub runner: PathBuf,
    /// The directory of the slots, which is made with mode 0700.
    pub slots: PathBuf,
}

/// Runners without containers, as the user that the platform runs as.
#[derive(Debug)]
pub struct Process {
    runner: PathBuf,
    slots: SlotDirectories,
    links: Links,
}

impl Process {
    /// A runtime whose runners connect to `links`.
    ///
    /// # Errors
    /// The directory of the slots cannot be made.
    pub fn new(config: ProcessConfig, links: Links) -> io::Result<Self> {
        Ok(Self { runner: config.runner, slots: SlotDirectories::new(&config.slots)?, links })
    }

    async fn boot(&self, directory: &SlotDirectory, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        let link = self.links.open(slot)?;
        self.links.forget_invoked(slot)?;
        directory.start(slot, &self.runner, &link, placement.workspace.as_ref().map(Workspace::path)).await?;
        tokio::select! {
            ready = self.links.ready(slot, READY_LIMIT) => ready.map(drop),
            () = ended(directory) => {
                let message = format!("the runner ended before it was ready; its log ends with: {:?}", directory.log_tail());
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
        let directory = self.slots.make(slot)?;
        let booted = self.boot(&directory, placement).await;
        if let Err(error) = &booted {
            debug!(%slot, %error, "the runner did not become ready");
            self.remove(slot).await.unwrap_or_else(|error| warn!(%slot, %error, "cannot remove a slot"));
        }
        booted
    }

    async fn invoke(&self, slot: &SlotId, mut invocation: Invocation) -> Result<Run, RuntimeError> {
        let directory = self.slots.of(slot);
        if let Some(below) = invocation.workdir.strip_prefix(WORKSPACE_DIR) {
            invocation.workdir = format!("{}{below}", directory.workspace().display());
        }
        invocation.env.extend(directory.variables());
        self.links.start(slot, invocation, async move { directory.exit().await })
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        let directory = self.slots.of(slot);
        if !directory.exists() {
            let message = format!("there is nothing in slot {slot}");
            return Err(RuntimeError::new(RuntimeErrorKind::NotFound, message));
        }
        // ends an earlier run of this process, so that the runner connects again
        self.links.release(slot);
        if !directory.is_alive() {
            return Ok(Run::ended(directory.exit().await));
        }
        self.links.open(slot)?;
        match self.links.ready(slot, READY_LIMIT).await {
            Ok(Runner::Invoked) => self.links.resume(slot, async move { directory.exit().await }),
            Ok(Runner::Another) => Ok(Run::ended(Ended::Restarted)),
            Ok(Runner::Idle) => {
                let message = format!("the runner of slot {slot} has had no invocation");
                Err(RuntimeError::new(RuntimeErrorKind::NotInvoked, message))
            }
            Err(_) if !directory.is_alive() => Ok(Run::ended(directory.exit().await)),
            // a suspended process is silent and has not ended
            Err(error) if error.kind() == RuntimeErrorKind::NotReady => {
                warn!(%slot, %error, "the runner is there, so it is waited for until the deadline");
                self.links.resume(slot, async move { directory.exit().await })
            }
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let directory = self.slots.of(slot);
        directory.kill_processes().await?;
        directory.delete()?;
        // processes that were being started during the first call
        directory.kill_processes().await?;
        self.links.close(slot);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let slots = self.slots.all()?.into_iter();
        Ok(slots.map(|slot| Listed { running: self.slots.of(&slot).is_alive(), slot }).collect())
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let version = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(EngineInfo { name: "process".to_owned(), version: format!("linux {}", version.trim()) })
    }
}

/// Resolves when the runner has ended.
async fn ended(directory: &SlotDirectory) {
    while !directory.has_ended() {
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}
