//! The outcome of a job: the files it changed, what it used of the model, and how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mgx_client::Event;
use mgx_protocol::JobId;
use serde_json::Value;

use crate::cli::out::text::{Line, Tone};
use crate::cli::out::{harmless, short};

/// How many names of models are kept.
const MODELS_MAX: usize = 8;

/// The outcome so far.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) files: BTreeMap<String, Change>,
    pub(super) used: ModelUse,
    pub(super) models: BTreeSet<String>,
    pub(super) finish: Option<Finish>,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::sessions) enum Change {
    /// It was written.
    Written,
    /// It was deleted.
    Deleted,
}

/// What a job has used of the model.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::sessions) struct ModelUse {
    /// Requests.
    pub(in crate::cli::sessions) requests: u64,
    /// Tokens sent to the model.
    pub(in crate::cli::sessions) sent: u64,
    /// Tokens received from the model.
    pub(in crate::cli::sessions) received: u64,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::sessions) struct Finish {
    /// `success`, `error`, `stopped` or `timeout`.
    pub(in crate::cli::sessions) status: String,
    /// What went wrong.
    pub(in crate::cli::sessions) error: Option<String>,
    /// The time from the first event to the last.
    pub(in crate::cli::sessions) elapsed: Option<Duration>,
}

impl Outcome {
    /// Adds the usage that an event reports.
    pub(super) fn count(&mut self, event: &Event) {
        let number = |key: &str| event.data.get(key).and_then(Value::as_u64).unwrap_or(0);
        self.used.requests += number("requests").max(1);
        self.used.sent += number("prompt_tokens");
        self.used.received += number("completion_tokens");
        if self.models.len() < MODELS_MAX {
            self.models.insert(short(event.text("model"), 60));
        }
    }
}

impl Finish {
    /// How a job ended, and why, unless it succeeded.
    pub(in crate::cli::sessions) fn lines(&self, job: Option<JobId>) -> Vec<Line> {
        let tone = match self.status.as_str() {
            "success" => Tone::Good,
            "stopped" => Tone::Waiting,
            _ => Tone::Bad,
        };
        let why = self.error.as_ref().map(|error| Line::new("error  ", error.as_str()).with(Tone::Bad));
        let of_job = job.map(|job| format!("  (job {job})")).unwrap_or_default();
        let end = Line::new("finish", format!("{}{of_job}", self.status)).with(tone);
        why.into_iter().chain([end]).collect()
    }

    /// The end that a `finish` event reports.
    pub(super) fn of(event: &Event, elapsed: Option<Duration>) -> Self {
        // what people read, or else the reason's name
        let why = [event.text("error"), event.text("reason")].into_iter().find(|text| !text.is_empty());
        Self { status: harmless(event.text("status")), error: why.map(harmless), elapsed }
    }
}
