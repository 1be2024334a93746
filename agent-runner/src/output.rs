//! What the command says: each line of its standard streams and of the event socket becomes an event.

mod drain;
pub(crate) mod event_socket;
mod lines;
pub(crate) mod log;
