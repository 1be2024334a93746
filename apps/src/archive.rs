//! What a store can do with sessions that are over: forget their events bit by bit, and take in one from elsewhere.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_protocol::JobId;
use mgx_scheduler::{Event, Job};

use crate::session::{Session, StoreError};

/// A store of finished sessions.
#[async_trait]
pub trait Archive: Send + Sync + fmt::Debug {
    /// Removes events of sessions whose jobs have all ended and whose newest event is older than `before`, at most
    /// `most` of them, and looks at a bounded number of sessions, from place `from` on. The newest event of each stays:
    /// the session's numbers go on from there.
    ///
    /// # Errors
    /// The store cannot be read or written.
    async fn trim(&self, before: Timestamp, from: u64, most: usize) -> Result<Trimmed, StoreError>;

    /// Takes in a session from elsewhere, whole or not at all.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if there is a session or a job of one of the ids.
    async fn admit(&self, record: Record) -> Result<(), StoreError>;

    /// Whether there is a job of this id.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn has_job(&self, id: JobId) -> Result<bool, StoreError>;
}

/// What was trimmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Events that were removed.
    pub events: usize,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

/// A session that is over: all there is of it but its files.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The session.
    pub session: Session,
    /// Its jobs, all of which have ended.
    pub jobs: Vec<Job>,
    /// Its events, in order, with their numbers.
    pub events: Vec<Event>,
}
