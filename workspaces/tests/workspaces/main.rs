//! What workspaces promise, from outside the crate.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the message")]

mod confinement;
mod files;
mod fixture;
mod listing;
mod ownership;
mod workspaces;
