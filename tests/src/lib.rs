//! What the tests share: a server of their own, a client that knows only the public API, a model provider, and
//! a look at the engine from outside.

pub mod client;
pub mod engine;
pub mod provider;
pub mod server;

pub use client::Client;
pub use engine::Engine;
pub use provider::Provider;
pub use server::Server;
