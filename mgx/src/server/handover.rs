//! What the server took over at its start, kept in the data directory for `mgx doctor`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mgx_scheduler::RecoveryReport;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::platform::Platform;
use crate::data_dir::{self, HANDOVER};

/// What one process took over from the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverReport {
    /// The id of the process that took over.
    pub process: u32,
    /// The version of that process.
    pub version: String,
    /// What that process took over.
    pub handover: RecoveryReport,
}

impl HandoverReport {
    /// The report of this process.
    pub fn of_this_process(handover: RecoveryReport) -> Self {
        Self { process: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned(), handover }
    }

    /// Writes the report into `dir`, in the place of an earlier one: as a whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, dir: &Path) -> io::Result<()> {
        data_dir::replace(dir, HANDOVER, self)
    }

    /// The last report in `dir`, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or is no report.
    pub fn last(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(dir.join(HANDOVER)) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Writes the report of this process into `dir` as soon as `platform` knows it, in the background.
pub(super) fn keep_when_known(platform: &Platform, dir: PathBuf, closing: CancellationToken) {
    let handover = platform.handover();
    tokio::spawn(async move {
        let report = tokio::select! {
            handover = handover => HandoverReport::of_this_process(handover),
            () = closing.cancelled() => return,
        };
        let kept = tokio::task::spawn_blocking(move || report.keep(&dir)).await;
        if let Err(error) = kept.map_err(io::Error::other).flatten() {
            warn!(%error, "cannot keep the report of the handover");
        }
    });
}
