//! The runner as a process, against a platform on a unix socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
mod link;
mod model;
mod platform;
mod team;
