//! The parts of the `mgx` program: the configuration, what is made of it, the server, and the command line.
//!
//! Read [`config`], `settings`, [`store`], `engine`, then [`server`] and `cli`.

mod cli;
pub mod config;
pub mod data_dir;
mod engine;
pub mod image;
mod private_file;
pub mod server;
mod settings;
pub mod store;
mod version;

pub use cli::main;
