//! Event streams: a session's log read once, encoded once, and shared by its readers.

mod block;
pub(crate) mod event_forms;
pub(crate) mod event_id;
pub(crate) mod event_view;
pub(crate) mod follow;
mod streams;
mod tail;

pub use streams::{StreamBounds, Streams};
