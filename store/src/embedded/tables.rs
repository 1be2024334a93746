//! The storage traits on SQLite, one file for each.

pub(crate) mod accounts;
pub(crate) mod archive;
pub(crate) mod intents;
pub(crate) mod journal;
pub(crate) mod sessions;
