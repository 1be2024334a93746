//! The store: what the platform must not forget, in one SQLite file behind one writer with group commit.
//!
//! Read [`embedded`], `writer`, `log`, `journal`, in that order.

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
mod readers;
mod row;
mod schema;
mod sessions;
mod writer;

pub use embedded::Embedded;
pub use error::OpenError;
