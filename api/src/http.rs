//! HTTP itself, before any resource: the server, what requests are read with, and problems.

pub(crate) mod accept;
pub(crate) mod byte_range;
mod connection;
pub(crate) mod extract;
pub(crate) mod forward;
pub(crate) mod ids;
pub(crate) mod problem;
mod proxies;
pub(crate) mod seconds;
mod serve;
mod slug;
pub(crate) mod strict_json;

pub use connection::ConnectionTimeouts;
pub use forward::{forward_to_leader, serve_current};
pub use problem::{Problem, Slug};
pub use proxies::Proxies;
pub use serve::{ServeConfig, serve};
