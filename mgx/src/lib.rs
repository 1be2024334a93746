//! The parts of the `mgx` program: configuration, assembly, and the command line.
//!
//! Read [`config`], [`store`], [`assemble`], `follower`, [`serve`], then `cli`.

pub mod assemble;
mod cli;
pub mod config;
pub mod data_dir;
mod follower;
pub mod handover;
pub mod image;
pub mod serve;
pub mod store;

pub use cli::main;
