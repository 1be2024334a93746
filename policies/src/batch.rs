//! What is asked for: jobs of one user for one session, decided one by one and handed on together.

use std::sync::Arc;

use mgx_protocol::{JobId, SessionId};
use mgx_scheduler::{Accepted, JobSpec};

use crate::limits::SpentBudget;
use crate::refusal::Refusal;

/// The jobs of one request; one job is a batch too.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The user who submits them, and the session.
    pub from: Arc<Submitter>,
    /// The jobs, in order.
    pub jobs: Vec<RequestedJob>,
}

/// The user and the session for which jobs are submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitter {
    /// The user.
    pub user: String,
    /// The session that the jobs are to belong to.
    pub session: SessionId,
    /// What that session has used of the model so far.
    pub spent: SpentBudget,
}

/// One job that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestedJob {
    /// The id it will have.
    pub id: JobId,
    /// What it is to do.
    pub spec: JobSpec,
}

/// Whether one job of a batch was accepted.
pub type Decision = Result<Accepted, Refusal>;
