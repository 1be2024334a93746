//! What the tests share: a server of their own, a client that knows only the public API, a model provider, and
//! a look at the engine from outside. And what they do to it: a clock that can be set, a disk that can be full or
//! hang, an engine that can be killed, connections that can be cut, a balancer before several servers.

pub mod balancer;
pub mod client;
pub mod cutter;
pub mod dockerd;
pub mod engine;
pub mod provider;
pub mod server;
pub mod volume;
pub mod wall_clock;

pub use balancer::Balancer;
pub use client::Client;
pub use cutter::Cutter;
pub use dockerd::Dockerd;
pub use engine::Engine;
pub use provider::Provider;
pub use server::Server;
pub use volume::Volume;
pub use wall_clock::WallClock;
