//! The server: a platform that is put together from the configuration, and serves until it is stopped.
//!
//! Read [`platform`], `follower`, `candidate`, then [`serving`].

mod candidate;
mod follower;
pub mod handover;
pub(crate) mod home;
pub(crate) mod identity;
mod llm;
pub(crate) mod logging;
pub mod platform;
pub mod serving;
pub mod signals;

pub use handover::HandoverReport;
pub use platform::{Platform, RuntimeDecorator};
pub use serving::Serving;
pub use signals::Signals;
