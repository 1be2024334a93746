//! The store: what the platform must not forget, in one SQLite file behind one writer with group commit, or on a MongoDB
//! server that several processes share.
//!
//! Read [`embedded`], `writer`, `log`, `journal`, in that order, then [`mongodb`].

pub mod account;
mod accounts;
mod archive;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod embedded;
mod error;
mod intents;
mod journal;
mod known;
mod lock;
mod log;
pub mod migrate;
pub mod mongodb;
mod portable;
mod readers;
mod row;
mod schema;
mod sessions;
mod writer;

pub use self::mongodb::MongoDb;
pub use embedded::Embedded;
pub use error::OpenError;
pub use portable::EmbeddedTarget;
