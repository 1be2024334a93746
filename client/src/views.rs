//! Sessions and jobs, as the server shows them and as it is asked for them.

use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId};
use serde::{Deserialize, Serialize};

/// A session to make.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewSession {
    /// Its id; one is made if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Its name, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `nextjs` or `fastapi-vite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// What the agents are to do first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// Its name, for people.
    pub name: String,
    /// What its app is built with.
    pub framework: String,
    /// Its workspace.
    pub workspace_id: String,
    /// Whose it is.
    pub user: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether a job of it waits or runs.
    pub is_running: bool,
    /// What its agents have used of the model so far.
    pub usage: Usage,
    /// Its first job, if a prompt came along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
}

/// What has been used of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Usage {
    /// Requests that reached a model.
    pub requests: u64,
    /// Tokens sent to it.
    pub prompt_tokens: u64,
    /// Tokens it answered with.
    pub completion_tokens: u64,
    /// What they cost, in millionths of the unit that the operator writes prices in.
    pub cost_micros: u64,
}

/// A job to submit.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewJob {
    /// What the agents are to do; empty with a command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// A command to run instead, program first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Seconds it may run.
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
    /// Who asked for it.
    pub user: String,
    /// The kind of work, such as `agent`.
    pub kind: String,
    /// `queued`, `running`, `succeeded`, … : see [`has_ended`](Self::has_ended).
    pub state: String,
    /// Why it is stopping or has ended, unless it succeeded.
    pub reason: Option<String>,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// What the agents were asked to do.
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
    /// Its place in line while it is queued; 1: it is next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Milliseconds until its turn, as far as one can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_ms: Option<u64>,
    /// How it came out, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Exit {
    /// Exit code, unless a signal ended it.
    pub code: Option<i64>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Processes that were killed for want of memory.
    pub oom_kills: u64,
}

/// How a job came out.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct JobResult {
    /// The session.
    pub session_id: SessionId,
    /// `success`, `failed`, `timeout` or `stopped`.
    pub status: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Seconds from the start of the command to the end.
    pub elapsed_seconds: f64,
}

/// A page of jobs, newest first.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

impl NewSession {
    /// A session whose first job has this prompt.
    pub fn of_prompt(prompt: impl Into<String>) -> Self {
        Self { prompt: Some(prompt.into()), ..Self::default() }
    }
}

impl NewJob {
    /// A job for the agents.
    pub fn of_prompt(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }
}

impl Job {
    /// Whether nothing more will become of it.
    pub fn has_ended(&self) -> bool {
        ["succeeded", "failed", "cancelled", "timed_out", "expired"].contains(&self.state.as_str())
    }
}
