//! What sessions and the plans of jobs promise, from outside the crate.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the message")]

mod blueprint;
mod sessions;
mod store;
