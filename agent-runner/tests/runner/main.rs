//! The runner as a process, against a platform on a unix socket.

mod command;
mod link;
mod model;
mod platform;
mod team;
