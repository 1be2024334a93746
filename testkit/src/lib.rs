//! What several test suites share: a blueprint that needs no store, random numbers from a seed, and (feature `servers`)
//! launchers of real servers and of everything that a test does to them.

pub mod blueprint;
pub mod mongo_server;
pub mod random;

#[cfg(feature = "servers")]
pub mod client;
#[cfg(feature = "servers")]
pub mod engine;
#[cfg(feature = "servers")]
pub mod model_provider;
#[cfg(feature = "servers")]
pub mod proxies;
#[cfg(feature = "servers")]
pub mod server;
#[cfg(feature = "servers")]
pub mod volume;
#[cfg(feature = "servers")]
pub mod wall_clock;

pub use blueprint::FixedBlueprint;
pub use mongo_server::MongoServer;
pub use random::SeededRandom;

#[cfg(feature = "servers")]
pub use {
    client::Client,
    engine::{Dockerd, Engine},
    model_provider::ModelProvider,
    proxies::{Balancer, CuttingProxy},
    server::Server,
    volume::Volume,
    wall_clock::WallClock,
};
