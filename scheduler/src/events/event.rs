//! One event of a session, before and after it is stored.

use jiff::Timestamp;
use mgx_protocol::{Attempt, EventKind, JobId, SessionId};
use serde::Serialize;
use serde_json::{Map, Value};

/// Something that happened in a session, stored and numbered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Its number in the session: 1, 2, 3, … without gaps. The `id:` of its SSE frame.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The session.
    pub session: SessionId,
    /// The job.
    pub job: JobId,
    /// The attempt at the job.
    pub attempt: Attempt,
    /// What happened: `job_queued`, `agent_start`, …, `finish`.
    pub kind: EventKind,
    /// The agent that reported it, if an agent did.
    pub agent: Option<String>,
    /// The rest, by kind.
    pub data: Map<String, Value>,
}

/// Something that happened, before it has its number.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// When it happened.
    pub at: Timestamp,
    /// The job.
    pub job: JobId,
    /// The attempt at the job.
    pub attempt: Attempt,
    /// The agent's own number for it within the attempt, if the agent sent it. An event whose
    /// `(job, attempt, source)` is stored already is dropped: sending twice is harmless.
    pub source: Option<u64>,
    /// What happened.
    pub kind: EventKind,
    /// The agent that reported it, if an agent did.
    pub agent: Option<String>,
    /// The rest.
    pub data: Map<String, Value>,
}
