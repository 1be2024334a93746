//! Connections: event streams, cut and slow clients, and the cost of authentication.

mod crowd;
mod cuts;
mod gate;
pub(crate) mod slow;
mod sse;
