//! The handle: submit, cancel, look, drain.

use std::time::Duration;

use mgx_agent_runner::{Attempt, JobId, SessionId};
use serde_json::{Map, Value};

use crate::job::{Job, JobSpec};
use crate::journal::{JobFilter, JournalError};
use crate::log::EventLog;

/// Accepts jobs and sees each of them to its end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scheduler {}

/// A request to run a job.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The session it belongs to.
    pub session: SessionId,
    /// Who asks.
    pub user: String,
    /// What is asked for.
    pub spec: JobSpec,
}

/// A job that is stored and will run.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The job.
    pub job: Job,
    /// Where it stands in line.
    pub place: Place,
}

/// A place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many go before it; 0: it is its turn.
    pub ahead: usize,
    /// Milliseconds until its turn, by the run times seen so far; `None` before any was seen.
    pub eta_ms: Option<u64>,
}

/// Why a job was not accepted. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The line is full.
    #[error("the queue holds {limit} jobs, its limit")]
    QueueFull {
        /// `scheduler.max_queued`.
        limit: usize,
        /// When there may be room.
        retry_after: Duration,
    },
    /// The platform is shutting down.
    #[error("the platform is shutting down")]
    Draining,
    /// It could not be stored.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What a request to cancel did.
#[derive(Clone, Debug)]
pub enum Cancelling {
    /// The job is being ended; its final state comes as an event.
    Asked(Job),
    /// It was being ended already.
    AlreadyAsked(Job),
}

/// Why a job could not be cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// There is no such job.
    #[error("no such job")]
    NotFound,
    /// It has ended.
    #[error("the job has ended")]
    Ended(Box<Job>),
    /// The store cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Scheduler {
    /// Stores a job, then lets it wait for its turn.
    ///
    /// # Errors
    /// [`Rejection`]; nothing was kept.
    pub async fn submit(&self, _submission: Submission) -> Result<Accepted, Rejection> {
        unimplemented!()
    }

    /// Asks for the end of a job, whatever its state.
    ///
    /// # Errors
    /// [`CancelError`] if there is nothing to end.
    pub async fn cancel(&self, _id: JobId) -> Result<Cancelling, CancelError> {
        unimplemented!()
    }

    /// One job as it stands.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn job(&self, _id: JobId) -> Result<Option<Job>, JournalError> {
        unimplemented!()
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn jobs(&self, _filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        unimplemented!()
    }

    /// Where a queued job stands in line.
    pub fn place(&self, _id: JobId) -> Option<Place> {
        unimplemented!()
    }

    /// Whether this attempt is under way: only then do its tokens count.
    pub fn is_live(&self, _job: JobId, _attempt: Attempt) -> bool {
        unimplemented!()
    }

    /// Adds an event of the platform's own (say, `llm_usage`) to the log of a live attempt's session.
    ///
    /// # Errors
    /// The store cannot be written, or the attempt is over.
    pub async fn record(
        &self,
        _job: JobId,
        _attempt: Attempt,
        _kind: &str,
        _data: Map<String, Value>,
    ) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// The events of every session.
    pub fn log(&self) -> &EventLog {
        unimplemented!()
    }

    /// Whether new jobs are refused because the platform is shutting down.
    pub fn is_draining(&self) -> bool {
        unimplemented!()
    }
}
