//! Jobs: submitted, listed and cancelled.

pub mod explanation;
pub mod timeline;

use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId, StateName};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Error;
use crate::open_enum::OpenEnum;

/// A job to submit.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewJob {
    /// The task of the agents; empty with a command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// A command to run instead of the agents, program first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Seconds it may run; the server's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Job {
    /// Its id; ids sort by the time of submission.
    pub job_id: JobId,
    /// Its session.
    pub session_id: SessionId,
    /// The user who submitted it.
    pub user: String,
    /// The kind of work, such as `agent`.
    pub kind: String,
    /// Its state.
    pub state: OpenEnum<StateName>,
    /// Why it is stopping or has ended, unless it succeeded.
    pub reason: Option<String>,
    /// The number of its attempt, from 1.
    pub attempt: u32,
    /// The task of the agents.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// Seconds its command may run.
    pub timeout_s: u32,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// When its command began to run.
    pub started_at: Option<Timestamp>,
    /// When its command must have ended.
    pub deadline_at: Option<Timestamp>,
    /// When it reached its final state.
    pub ended_at: Option<Timestamp>,
    /// How its command ended.
    pub exit: Option<Exit>,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// Its place in the queue while it waits there; 1: it is next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Estimated milliseconds until it leaves the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_ms: Option<u64>,
    /// Its result, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Exit {
    /// Exit code, unless a signal ended the command.
    pub code: Option<i64>,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// How many processes the kernel killed because memory ran out.
    pub oom_kills: u64,
}

/// The result of a job.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobResult {
    /// The session.
    pub session_id: SessionId,
    /// `success`, `failed`, `timeout` or `stopped`.
    pub status: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Seconds from the start of the command to its end.
    pub elapsed_seconds: f64,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JobQuery {
    /// Only those of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateName>,
    /// Where the page begins: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most so many; the server's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
}

/// A page of jobs, newest first.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

impl NewJob {
    /// A job for the agents.
    pub fn of_prompt(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }
}

impl Job {
    /// Whether it has reached a final state. A state that this client does not know is not final.
    pub fn has_ended(&self) -> bool {
        self.state.known().is_some_and(StateName::is_final)
    }
}

impl Client {
    /// Submits a job to a session; `None` if there is no such session.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn submit(&self, session: &SessionId, job: &NewJob) -> Result<Option<Job>, Error> {
        let request = self.request(Method::POST, &format!("/api/sessions/{session}/jobs"));
        self.found(request.json(job)).await
    }

    /// A job as it is now; `None` if there is no such job.
    ///
    /// # Errors
    /// The server did not answer.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.found(self.request(Method::GET, &format!("/api/jobs/{id}"))).await
    }

    /// A page of jobs, newest first.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn jobs(&self, query: &JobQuery) -> Result<JobPage, Error> {
        self.json(self.request(Method::GET, "/api/jobs").query(query)).await
    }

    /// Submits a job that goes on where this one has stopped; `None` if there is no such job.
    ///
    /// # Errors
    /// The job cannot be continued, or the server did not answer.
    pub async fn continue_job(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.found(self.request(Method::POST, &format!("/api/jobs/{id}/continue"))).await
    }

    /// Asks the server to end a job; `None` if there is no such job.
    ///
    /// # Errors
    /// The job has ended already, or the server did not answer.
    pub async fn cancel(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.found(self.request(Method::POST, &format!("/api/jobs/{id}/cancel"))).await
    }
}
