//! Container runtimes: each makes containers, runs one invocation in each of them, and removes them.
//!
//! Read [`runtime`] first: the one trait, and the values that cross it. The crate does not know job states, users,
//! stores or HTTP.

pub mod runtime;

pub mod docker;
#[cfg(feature = "testing")]
pub mod fake;
pub mod null;
pub mod podman;
pub mod pool;
pub mod process;

pub mod engine;
pub mod hardening;
pub mod link;

#[cfg(feature = "testing")]
pub mod conformance;

pub use docker::connection::DockerConnection;
pub use docker::{Docker, DockerConfig, DockerEngine, UserMapping, UserObstacle};
pub use engine::ContainerEngine;
pub use engine::connect_fault::{ConnectFault, EngineName};
pub use engine::image;
pub use engine::runtime::EngineRuntime;
pub use link::Links;
pub use link::listener::Tunnel;
pub use null::Null;
pub use podman::config::PodmanConfig;
pub use podman::{Podman, PodmanEngine};
pub use pool::Pool;
pub use process::{Process, ProcessConfig};
pub use runtime::error::{RuntimeError, RuntimeErrorKind};
pub use runtime::run::{Command, Ended, Output, Run};
pub use runtime::spec::{ContainerSpec, Limits, Network, OciRuntime, Placement, Workspace};
pub use runtime::warm::{PoolableRuntime, WarmContainer};
pub use runtime::{EngineInfo, Listed, Runtime};
