//! What the server has taken over at its start, kept in the data directory, where `mgx doctor` finds it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mgx_scheduler::Handover;
use serde::{Deserialize, Serialize};

const FILE: &str = "handover.json";

/// The report of a server's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The process that took over.
    pub process: u32,
    /// Its version.
    pub version: String,
    /// What it took over.
    pub handover: Handover,
}

impl Report {
    /// The report of this process.
    pub fn of_this_process(handover: Handover) -> Self {
        Self { process: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned(), handover }
    }

    /// Keeps it in `dir`, in the place of an earlier one: wholly or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, dir: &Path) -> io::Result<()> {
        let staged = dir.join(format!("{FILE}.{}", self.process));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        let kept = serde_json::to_vec(self)
            .map_err(io::Error::other)
            .and_then(|json| file.write_all(&json))
            .and_then(|()| fs::rename(&staged, dir.join(FILE)));
        if kept.is_err() {
            fs::remove_file(&staged).ok();
        }
        kept
    }

    /// The last one that was kept in `dir`, if one was.
    ///
    /// # Errors
    /// It cannot be read, or is no report.
    pub fn last(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(dir.join(FILE)) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
