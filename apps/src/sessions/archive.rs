//! The storage of finished sessions: old events are removed step by step, and an exported session is stored again.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_protocol::JobId;
use mgx_scheduler::{Event, Job};

use crate::sessions::session::Session;
use crate::store_error::StoreError;

/// A store of finished sessions.
#[async_trait]
pub trait Archive: Send + Sync + fmt::Debug {
    /// Removes at most `most` events of sessions whose jobs have all ended and whose newest event is older than
    /// `before`. Examines a bounded number of sessions, from position `from` on. The newest event of each session stays,
    /// because the next event is numbered after it.
    ///
    /// # Errors
    /// The store cannot be read or written.
    async fn trim(&self, before: Timestamp, from: u64, most: usize) -> Result<Trimmed, StoreError>;

    /// Stores a session that was exported elsewhere, completely or not at all.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if there is a session or a job of one of the ids.
    async fn import(&self, archived: ArchivedSession) -> Result<(), StoreError>;

    /// Whether there is a job of this id.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn has_job(&self, id: JobId) -> Result<bool, StoreError>;
}

/// The result of one [`Archive::trim`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Events that were removed.
    pub events: usize,
    /// The position to go on from; `None` at the end.
    pub next: Option<u64>,
}

/// A finished session with everything but its files.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedSession {
    /// The session.
    pub session: Session,
    /// Its jobs, all of which have ended.
    pub jobs: Vec<Job>,
    /// Its messages whose events are kept no longer, in order, as those events.
    pub messages: Vec<Event>,
    /// Its events, in order, with their numbers.
    pub events: Vec<Event>,
}
