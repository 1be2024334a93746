//! HTTP itself, before any resource: the server, what requests are read with, and problems.

pub(crate) mod accept;
pub(crate) mod byte_range;
pub(crate) mod byte_size;
mod connection;
pub(crate) mod extract;
pub(crate) mod forward;
pub(crate) mod problem;
mod proxies;
mod serve;
mod slug;
pub(crate) mod strict_json;

pub use connection::Patience;
pub use forward::{changing, handing_on};
pub use problem::{Problem, Slug};
pub use proxies::Proxies;
pub use serve::{ServeConfig, serve};
