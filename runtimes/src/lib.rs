//! Container runtimes: what can make a box, run one invocation in it, and destroy it.
//!
//! Read [`runtime`] first: the one trait, and the values that cross it. Knows nothing of jobs' states, tenants,
//! stores or HTTP.

pub mod error;
pub mod runtime;

pub use error::{RuntimeError, RuntimeErrorKind};
pub use runtime::{
    Command, ContainerSpec, Ended, EngineInfo, Limits, Listed, Network, Output, Placement, Run, Runtime,
};
