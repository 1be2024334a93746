//! Event streams: a session's log read once, encoded once, and shared by its readers.

pub(crate) mod block;
pub(crate) mod event_forms;
pub(crate) mod event_id;
pub(crate) mod event_view;
mod flat_view;
pub(crate) mod follow;
mod streams;
mod tail;

pub use streams::{StreamBounds, Streams};
