//! What sessions and workspaces promise, from outside the crate.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the message")]

mod blueprint;
mod confinement;
mod files;
mod house;
mod listing;
mod sessions;
mod store;
mod workspaces;
