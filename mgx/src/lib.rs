//! The parts of the `mgx` program: configuration, assembly, and the command line.
//!
//! Read [`config`], [`store`], [`assemble`], `follower`, [`serve`], then `cli`.

pub mod assemble;
mod cli;
pub mod config;
pub mod data_dir;
pub(crate) mod engine;
mod follower;
pub mod handover;
pub(crate) mod identity;
pub mod image;
mod llm;
mod logging;
pub mod serve;
pub mod store;

pub use cli::{command, main};
