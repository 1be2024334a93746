//! Reading jobs and events: all that a process needs which does not schedule.

use std::sync::Arc;

use mgx_protocol::JobId;

use super::event_log::EventLog;
use super::{JobFilter, Journal, JournalError};

use crate::job::Job;

/// Reads what is stored of jobs and their sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JobReader {
    journal: Arc<dyn Journal>,
    log: EventLog,
}

impl JobReader {
    /// Reads `journal`. Events that another process stores are seen by its followers once
    /// [`EventLog::notify`] says so.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { log: EventLog::new(journal.clone()), journal }
    }

    /// One job as it is stored.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        self.journal.job(id).await
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        self.journal.jobs(filter).await
    }

    /// The events of every session.
    pub fn log(&self) -> &EventLog {
        &self.log
    }
}
