//! `trait Runtime`: what the scheduler needs of a container runtime, and the values that cross it.
//!
//! A [`ContainerSpec`] holds nothing of a single job, so containers of equal specs are interchangeable. What belongs to
//! one container is its [`Placement`]; what belongs to one job arrives with the [`Invocation`].

pub mod error;
pub mod run;
pub mod spec;
pub mod warm;

use std::fmt;

use async_trait::async_trait;
use mgx_protocol::{Invocation, SlotId};

use error::RuntimeError;
use run::Run;
use spec::{ContainerSpec, Placement};

/// Makes containers, runs one invocation in each, and removes them.
///
/// Every call returns within a deadline of its own; `remove` and `list` are idempotent. `conformance.rs` has the exact
/// rules as tests.
#[async_trait]
pub trait Runtime: Send + Sync + fmt::Debug {
    /// Makes a container and resolves when its runner has connected.
    ///
    /// # Errors
    /// `Conflict` if the slot is taken; a container that could not become ready has been removed again.
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError>;

    /// Runs `invocation` in the container of `slot`, which serves no other one.
    ///
    /// # Errors
    /// `NotFound` if there is no ready container in the slot.
    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError>;

    /// Resumes a run that an earlier process of the platform began. Resolves when the runner has reconnected, or with a
    /// [`Run`] that reports how the container ended if it has. If the runner does not reconnect although its container is
    /// there, such as one that is paused, it resolves with a [`Run`] that goes on when the runner does.
    ///
    /// # Errors
    /// `NotFound` if there is no container in the slot, `NotInvoked` if it has had no invocation.
    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError>;

    /// Kills and deletes the container of `slot` and everything that was made for it. Succeeds if there is none.
    ///
    /// # Errors
    /// `Unavailable` or `Deadline`: it may still be there.
    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError>;

    /// The containers that this instance of the platform has made and not removed.
    ///
    /// # Errors
    /// `Unavailable` or `Deadline`.
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError>;

    /// The engine's name and version; fails if it does not answer.
    ///
    /// # Errors
    /// `Unavailable` or `Deadline`.
    async fn info(&self) -> Result<EngineInfo, RuntimeError>;
}

/// A container that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its slot.
    pub slot: SlotId,
    /// Whether it runs.
    pub running: bool,
}

/// Name and version of an engine, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// `docker`, `podman`, `process`, `fake`.
    pub name: String,
    /// Its version.
    pub version: String,
}
