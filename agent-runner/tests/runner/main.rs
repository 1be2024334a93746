//! The runner as a process, with a test platform at the other end of its link.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
mod link;
mod model;
mod platform;
mod team;
