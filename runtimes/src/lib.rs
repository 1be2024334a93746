//! Container runtimes: what can make a box, run one invocation in it, and destroy it.
//!
//! Read [`runtime`] first: the one trait, and the values that cross it. Knows nothing of jobs' states, tenants,
//! stores or HTTP.

#[cfg(feature = "testing")]
pub mod conformance;
pub mod contained;
mod deaths;
pub mod docker;
mod driver;
pub mod engine;
pub mod error;
#[cfg(feature = "testing")]
pub mod fake;
pub mod hardening;
pub mod image;
mod latest;
mod lines;
pub mod link;
mod namespaces;
pub mod null;
pub mod parked;
pub mod podman;
pub mod pool;
pub mod process;
mod profile;
pub mod runtime;

pub use contained::Containers;
pub use docker::{Docker, DockerApi, DockerConfig};
pub use engine::Engine;
pub use error::{RuntimeError, RuntimeErrorKind};
pub use link::{Links, Tunnel};
pub use null::Null;
pub use parked::{Parked, Parking};
pub use podman::{Libpod, Podman, PodmanConfig};
pub use pool::Pool;
pub use process::{Process, ProcessConfig};
pub use runtime::{
    Command, ContainerSpec, Ended, EngineInfo, Limits, Listed, Network, OciRuntime, Output, Placement, Run,
    Runtime, Workspace,
};
