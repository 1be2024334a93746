//! What the clients and the nemesis did and saw, in order: one JSON object on each line.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::nemesis::kind::Nemesis;
use crate::workload::Workload;

/// Something that happened, as far as a client can tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Record {
    /// The run's parameters; at most `slots` jobs run at a time.
    Run { runtime: String, seed: u64, jobs: u64, cycles: u64, slots: u64 },
    /// A job was submitted, and no answer is known yet.
    Sent { number: u64, session: String, workload: Workload },
    /// The answer was 202.
    Accepted { number: u64, job: String },
    /// The answer was a refusal with this `code`, or the request never got through: status 0.
    Refused { number: u64, status: u16, code: String },
    /// No answer came: it may have been accepted or not.
    Unknown { number: u64 },
    /// A request to cancel a job was answered with 200 or 202; no client asks again.
    Cancelled { job: String },
    /// A job was looked at.
    Seen { job: String, status: u16, state: String },
    /// A reader of the event stream received a frame.
    Frame { session: String, id: u64, event: String, job: String },
    /// A reader was told that an event which it has read does not exist.
    ReaderRefused { session: String, error: String },
    /// The server was killed; `starting`: before it was ready.
    Killed { starting: bool },
    /// A fault was injected. It may have ended what runs only if it `ends_runs`.
    Disturbed { nemesis: Nemesis, how: String, ends_runs: bool },
    /// How much memory the server has had resident at the most, in MiB.
    Peak { mib: u64 },
    /// The server was ready again.
    Ready { millis: u64 },
}

/// A history that is being written.
#[derive(Clone, Debug)]
pub(crate) struct History(Arc<Mutex<BufWriter<File>>>);

impl History {
    /// A new one.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Ok(Self(Arc::new(Mutex::new(BufWriter::new(File::create(path)?)))))
    }

    /// Adds a record. A history that cannot be written proves nothing, so that ends everything.
    pub(crate) fn add(&self, record: &Record) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_writer(&mut *file, record).expect("the history can be written");
        file.write_all(b"\n").expect("the history can be written");
    }

    /// Writes down all that was added.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()?)
    }
}

/// Reads a history.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| serde_json::from_str(&line?).context("a line of the history")).collect()
}
