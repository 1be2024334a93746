//! Why a job is where it is: what it waits for, which jobs hold that, and what would help.

use std::fmt;

use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId, StateName};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Error;
use crate::open_enum::OpenEnum;

/// Why a job is where it is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Explanation {
    /// The job.
    pub job_id: JobId,
    /// Its state.
    pub state: OpenEnum<StateName>,
    /// What it waits for.
    pub waits_for: OpenEnum<WaitsFor>,
    /// Its place in the queue; 1: it is next.
    pub position: Option<u64>,
    /// Estimated milliseconds until it leaves the queue; absent before any job has ended.
    pub eta_ms: Option<u64>,
    /// How far off the estimate may be, either way, in milliseconds.
    pub eta_error_ms: Option<u64>,
    /// The limit that keeps it from running, even if it is next.
    pub binding: Option<BindingLimit>,
    /// The smallest change that would start it now.
    pub remedy: Option<String>,
    /// Its wait for the model's provider, if it waits for that.
    #[serde(default)]
    pub provider: Option<ProviderWait>,
}

/// A job's wait for its model's provider; it holds no slot meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ProviderWait {
    /// Since when the provider is away.
    pub since: Timestamp,
    /// When it is asked again.
    pub until: Timestamp,
    /// What it says.
    pub reason: String,
}

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// The time that it is to begin at.
    StartTime,
    /// The pause before its next attempt.
    Retry,
    /// The model's provider is away.
    Provider,
    /// Other jobs go first.
    Turn,
    /// It is next, but a limit is reached.
    Limit,
    /// The container engine does not answer.
    Engine,
    /// Its container is being made.
    Container,
    /// Nothing: its command runs.
    Command,
    /// It is being ended.
    Stop,
    /// It has ended.
    Nothing,
}

/// A limit that keeps a job from running.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct BindingLimit {
    /// The name of the limit.
    pub limit: String,
    /// How much of it is in use.
    pub used: u64,
    /// How much this job asks for.
    pub asked: u64,
    /// How much there is.
    pub max: u64,
    /// How many jobs use it.
    pub holder_count: u64,
    /// Some of these jobs: at most ten, and only those that the caller may see.
    pub holders: Vec<Holder>,
    /// How many jobs have ended and use it all the same, because the engine cannot remove their containers.
    #[serde(default)]
    pub leftover_count: u64,
    /// At most ten of those, and only those that the caller may see.
    #[serde(default)]
    pub leftovers: Vec<Holder>,
}

/// A job that uses what another job waits for.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Holder {
    /// The job.
    pub job_id: JobId,
    /// Its session.
    pub session_id: SessionId,
    /// The user who submitted it.
    pub user: String,
    /// Its state.
    pub state: OpenEnum<StateName>,
    /// When its command began to run.
    pub started_at: Option<Timestamp>,
    /// When its command must have ended.
    pub deadline_at: Option<Timestamp>,
}

impl WaitsFor {
    /// The name: `start_time`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StartTime => "start_time",
            Self::Retry => "retry",
            Self::Provider => "provider",
            Self::Turn => "turn",
            Self::Limit => "limit",
            Self::Engine => "engine",
            Self::Container => "container",
            Self::Command => "command",
            Self::Stop => "stop",
            Self::Nothing => "nothing",
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Client {
    /// Why a job is where it is; `None` if there is no such job.
    ///
    /// # Errors
    /// The server did not answer.
    pub async fn explain(&self, id: JobId) -> Result<Option<Explanation>, Error> {
        self.found(self.request(Method::GET, &format!("/api/jobs/{id}/explain"))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn an_explanation_is_written_as_it_was_read_and_new_fields_and_names_are_tolerated() {
        let answer = json!({
            "job_id": "0193a5b0-0000-7000-8000-000000000002", "state": "queued", "waits_for": "limit", "position": 1,
            "eta_ms": 4200, "eta_error_ms": null, "remedy": null, "provider": null,
            "binding": { "limit": "running", "used": 2, "asked": 1, "max": 2, "holder_count": 1, "holders": [{
                "job_id": "0193a5b0-0000-7000-8000-000000000001", "session_id": "demo", "user": "admin",
                "state": "running", "started_at": null, "deadline_at": "2026-11-22T10:30:00Z" }],
                "leftover_count": 0, "leftovers": [] },
        });
        let read: Explanation = serde_json::from_value(answer.clone()).unwrap();
        assert_eq!(read.waits_for, WaitsFor::Limit.into());
        assert_eq!(serde_json::to_value(&read).unwrap(), answer);

        let mut newer = answer;
        newer["waits_for"] = "snapshot".into();
        newer["binding"]["unit"] = "jobs".into();
        let read: Explanation = serde_json::from_value(newer).unwrap();
        assert_eq!(read.waits_for, OpenEnum::Other("snapshot".to_owned()));
    }

    #[test]
    fn every_name_is_written_as_it_is_shown() {
        let names = [
            "start_time",
            "retry",
            "provider",
            "turn",
            "limit",
            "engine",
            "container",
            "command",
            "stop",
            "nothing",
        ];
        for name in names {
            let read: WaitsFor = serde_json::from_value(Value::from(name)).unwrap();
            assert_eq!(read.to_string(), name);
        }
    }
}
