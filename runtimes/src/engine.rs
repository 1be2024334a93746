//! `trait ContainerEngine`: how an engine does each step of a container's life.
//!
//! [`runtime::EngineRuntime`] decides in which order the steps come, and what happens when one fails.

pub mod connect_fault;
pub(crate) mod deadline;
mod exit_watcher;
pub mod image;
pub mod runtime;

use std::path::Path;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use mgx_protocol::SlotId;

use crate::{ContainerSpec, Ended, EngineInfo, Listed, Placement, RuntimeError};

/// How much of a failed container's log an error message has, in bytes.
pub(crate) const MAX_LOG_TAIL_BYTES: usize = 2048;

/// How one engine does each step with the containers of one instance of the platform. Every call has a deadline.
#[async_trait]
pub trait ContainerEngine: std::fmt::Debug + Send + Sync + 'static {
    /// Creates the container of `placement`, whose link directory is `link`, and does not start it.
    ///
    /// # Errors
    /// `Conflict` if there is one; after any other error, the caller may remove what is there.
    async fn create(
        &self,
        spec: &ContainerSpec,
        placement: &Placement,
        link: &Path,
    ) -> Result<(), RuntimeError>;

    /// Checks that the engine has applied every part of the hardening.
    ///
    /// # Errors
    /// `Refused` if it has not.
    async fn inspect(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError>;

    /// Starts the container.
    ///
    /// # Errors
    /// The engine's.
    async fn start(&self, slot: &SlotId) -> Result<(), RuntimeError>;

    /// How the container ended; `None` if it runs or has not been started.
    ///
    /// # Errors
    /// `NotFound` if there is none, or the engine does not say.
    async fn exit_of(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError>;

    /// The end of its log, at most about 2 KiB; empty if there is none.
    async fn log_tail(&self, slot: &SlotId) -> String;

    /// Kills and deletes the container. Succeeds if there is none.
    ///
    /// # Errors
    /// `Conflict` if it is just ending by itself: the caller tries again. After any other error it may still exist.
    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError>;

    /// All containers of the instance.
    ///
    /// # Errors
    /// The engine's.
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError>;

    /// Whether the engine answers.
    ///
    /// # Errors
    /// It does not.
    async fn ping(&self) -> Result<(), RuntimeError>;

    /// The engine's name and version.
    ///
    /// # Errors
    /// It does not answer.
    async fn info(&self) -> Result<EngineInfo, RuntimeError>;

    /// The exits of containers as they happen, from now on or since [`ContainerExit::at`] of an earlier one.
    ///
    /// # Errors
    /// The engine's.
    async fn exits(&self, since: Option<i64>) -> Result<ExitStream, RuntimeError>;
}

/// Exits, until the engine goes away. An engine may leave some out, or report them late or twice.
pub type ExitStream = BoxStream<'static, Result<ContainerExit, RuntimeError>>;

/// The exit of a container, as an engine reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerExit {
    /// The container's slot, and how it ended; `None` if the event does not say, so that the list has to be compared.
    pub of: Option<(SlotId, Ended)>,
    /// When, by the engine's clock, in nanoseconds since 1970.
    pub at: Option<i64>,
}

/// The name of the container of `slot`.
pub(crate) fn container_name(slot: &SlotId) -> String {
    format!("mgx-{slot}")
}
