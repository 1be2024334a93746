//! The parts of the `mgx` program: configuration, assembly, and the command line.
//!
//! Read [`config`], [`assemble`], [`serve`], then `cli`.

pub mod assemble;
mod cli;
pub mod config;
pub mod data_dir;
pub mod handover;
pub mod image;
pub mod serve;

pub use cli::main;
