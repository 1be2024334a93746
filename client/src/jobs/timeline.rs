//! Where the time of a job went.

use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId, StateName};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Error;
use crate::open_enum::OpenEnum;

/// Where the time of a job went.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Timeline {
    /// The job.
    pub job_id: JobId,
    /// Its session.
    pub session_id: SessionId,
    /// Its state.
    pub state: OpenEnum<StateName>,
    /// When it was accepted; every number of milliseconds counts from here.
    pub submitted_at: Timestamp,
    /// Milliseconds until its end, or until now.
    pub elapsed_ms: u64,
    /// How many attempts came before those in `attempts`.
    pub earlier_attempts: u64,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptTimeline>,
}

/// One attempt of a job.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct AttemptTimeline {
    /// Its number, from 1.
    pub attempt: u32,
    /// How many times a restarted platform took it up again.
    pub reattached: u32,
    /// Its stages, in order; each lasts until the next one.
    pub stages: Vec<Stage>,
}

/// One stage of an attempt.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Stage {
    /// What began: `queued`, `admitted`, `starting` (the container is made), `running`, `first_event`, `last_event`,
    /// `stopping`, `finish`, or what a newer server names.
    pub stage: String,
    /// Milliseconds from the submission to the beginning of the stage.
    pub start_ms: u64,
    /// Milliseconds from the submission to the end of the stage, unless it still lasts.
    pub end_ms: Option<u64>,
}

impl Client {
    /// Where the time of a job went; `None` if there is no such job.
    ///
    /// # Errors
    /// The server did not answer.
    pub async fn timeline(&self, id: JobId) -> Result<Option<Timeline>, Error> {
        self.found(self.request(Method::GET, &format!("/api/jobs/{id}/timeline"))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_timeline_is_written_as_it_was_read() {
        let answer = json!({
            "job_id": "0193a5b0-0000-7000-8000-000000000001", "session_id": "demo", "state": "running",
            "submitted_at": "2026-11-22T10:30:00.25Z", "elapsed_ms": 4000, "earlier_attempts": 0,
            "attempts": [{ "attempt": 1, "reattached": 0, "stages": [
                { "stage": "queued", "start_ms": 0, "end_ms": 1 },
                { "stage": "running", "start_ms": 1, "end_ms": null }] }],
        });
        let read: Timeline = serde_json::from_value(answer.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), answer);
    }
}
