//! The store: sessions, jobs, events, idempotency keys and accounts, durably in one SQLite file, or on a MongoDB server
//! that several processes share.
//!
//! Both stores implement the storage traits of the crates `scheduler`, `apps` and `oauth2`, with a file for each trait
//! (`embedded/tables`, `mongodb/collections`). Read `change_queue`, [`embedded`], `embedded/writer` and
//! `embedded/tables/journal` in that order, then [`mongodb`].

mod change_queue;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod embedded;
mod error;
mod fatal;
pub mod migrate;
pub mod mongodb;

pub use self::mongodb::MongoDb;
pub use self::mongodb::connect_error::ConnectError;
pub use self::mongodb::copy::MongoDbTarget;
pub use self::mongodb::event_watch::EventListener;
pub use self::mongodb::lease::Leader;
pub use embedded::Embedded;
pub use embedded::copy::EmbeddedTarget;
pub use embedded::copy::snapshot::{Snapshot, SnapshotError};
pub use embedded::open_error::OpenError;
