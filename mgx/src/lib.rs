//! The parts of the `mgx` program: configuration, assembly, and the command line.
//!
//! Read [`config`], [`assemble`], [`serve`], then `cli`.

pub mod assemble;
mod cli;
pub mod config;
pub mod data_dir;
pub(crate) mod engine;
pub mod handover;
pub(crate) mod identity;
pub mod image;
pub mod serve;

pub use cli::main;
