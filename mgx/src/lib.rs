//! The parts of the `mgx` program: configuration, assembly, and the command line.

pub mod config;
