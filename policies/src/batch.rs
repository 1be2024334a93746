//! What is asked for: jobs of one user for one session, decided one by one and handed on together.

use std::sync::Arc;

use mgx_protocol::{JobId, SessionId};
use mgx_scheduler::{Accepted, JobSpec};

use crate::budget::Spent;
use crate::refusal::Refusal;

/// Jobs that somebody asks for in one request; one job is a batch too.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Who asks, and for which session.
    pub from: Arc<Applicant>,
    /// The jobs, in order.
    pub jobs: Vec<Wanted>,
}

/// Who asks for jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// The user.
    pub user: String,
    /// The session that the jobs are to belong to.
    pub session: SessionId,
    /// What that session has used of the model so far.
    pub spent: Spent,
}

/// One job that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The id it will have.
    pub id: JobId,
    /// What it is to do.
    pub spec: JobSpec,
}

/// What became of one job of a batch.
pub type Decision = Result<Accepted, Refusal>;
