//! HTTP itself, before any resource: the server, what requests are read with, and problems.

pub(crate) mod accept;
pub(crate) mod byte_range;
pub(crate) mod content_encoding;
pub(crate) mod extract;
pub(crate) mod ids;
mod page;
pub(crate) mod problem;
pub(crate) mod problem_page;
pub(crate) mod seconds;
pub(crate) mod server;
mod slug;
pub(crate) mod strict_json;

pub use problem::{Problem, Slug};
pub use server::{ConnectionTimeouts, Proxies, ServeConfig, forward_to_leader, serve, serve_current};
