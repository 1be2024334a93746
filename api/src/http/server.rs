//! The HTTP server: connections and their limits, the host and the client of a request, forwarding between processes.

mod connection;
mod forward;
pub(crate) mod host;
mod proxies;
mod serve;
pub(crate) mod wrong_host;

pub use connection::ConnectionTimeouts;
pub use forward::{forward_to_leader, serve_current};
pub use proxies::Proxies;
pub use serve::{ServeConfig, serve};
