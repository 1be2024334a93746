//! The journal: the storage that the scheduler needs. A write that has returned is durable.

pub(crate) mod event_log;
#[cfg(feature = "testing")]
pub mod memory;
pub(crate) mod reader;

use std::fmt;

use async_trait::async_trait;
use mgx_protocol::{JobId, SessionId, StateName};

use crate::events::event::{Event, NewEvent};
use crate::events::run_log::HistorySize;
use crate::job::Job;

/// One atomic change: a job's new row, and events of its session, or neither.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The session that the events belong to.
    pub session: SessionId,
    /// The job as it stands now, if that has changed.
    pub job: Option<Job>,
    /// What happened, in order.
    pub events: Vec<NewEvent>,
}

/// Durable jobs and events.
#[async_trait]
pub trait Journal: Send + Sync + fmt::Debug {
    /// Writes `entry` durably and gives its events their numbers: the next ones of the session, in order.
    /// Events that are stored already (same job, attempt and source) are dropped and not returned.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] if the stored row of the job, or of the job that an event belongs to, has ended
    /// or is at a later attempt: so `finish` is always the last event of its job. On every error nothing was
    /// written; after the others the caller may try again.
    async fn write(&self, entry: Entry) -> Result<Vec<Event>, JournalError>;

    /// One job.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError>;

    /// Jobs, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError>;

    /// Every job that has not ended, in the order of submission.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn unfinished(&self) -> Result<Vec<Job>, JournalError>;

    /// Events of a session after number `after`, in order, at most `limit`. Fewer if they are large: only an empty
    /// page is the end.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn events(&self, session: &SessionId, after: u64, limit: usize)
    -> Result<Vec<Event>, JournalError>;

    /// How much of a session's log is stored.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn size(&self, session: &SessionId) -> Result<HistorySize, JournalError>;

    /// The number of the newest event of a session, 0 if there is none, and how many of its jobs are live.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn head(&self, session: &SessionId) -> Result<Head, JournalError>;
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only of this session.
    pub session: Option<SessionId>,
    /// Only of this user.
    pub user: Option<String>,
    /// Only in this state.
    pub state: Option<StateName>,
    /// Only older than this one.
    pub before: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

/// Where a session's log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of the newest event.
    pub seq: u64,
    /// Jobs of the session that have not ended.
    pub live_jobs: u64,
}

impl Head {
    /// Whether the session has had jobs and all of them have ended: no event follows until the next submission.
    pub fn has_finished(self) -> bool {
        self.seq > 0 && self.live_jobs == 0
    }
}

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The job has ended, or a later attempt has begun: this writer is out of date.
    #[error("the job has ended or moved on")]
    Fenced,
    /// The disk is full; it may be freed.
    #[error("the store is full")]
    Full,
    /// The store does not answer; it may come back.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}
