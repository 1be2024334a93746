//! The part of the agent-runner that the platform shares with it: identifiers, the runner protocol and its codec.
//!
//! Read [`protocol`] first. The binary (`main.rs` and the modules it names) is PID 1 in every container.

pub mod codec;
pub mod ids;
pub mod protocol;

pub use ids::{Attempt, InvalidId, JobId, Nonce, SessionId, SlotId, WorkspaceId};
