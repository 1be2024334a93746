//! Which runner an invocation was given to: a file beside the socket, so that a later process of the platform knows it too.
//!
//! A container that is started again has another runner. Its command may have run, so the invocation is never given to
//! the second one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mgx_protocol::{Nonce, Ready};
use serde::{Deserialize, Serialize};

/// The name of the file in the directory of the link.
const FILE: &str = "invoked";

/// What a runner tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RunnerIdentity {
    /// It has drawn this nonce when it was started, and was not claimed.
    Unclaimed(Nonce),
    /// It was claimed. A runner that is started later has a nonce.
    Claimed,
    /// It is of version 1, which has no nonce.
    Unknown,
}

/// The file of one slot.
#[derive(Clone, Debug)]
pub(super) struct InvokedRunner {
    file: PathBuf,
}

impl RunnerIdentity {
    /// What the runner of a new connection tells of itself.
    pub(super) fn of(ready: &Ready) -> Self {
        match ready.nonce {
            Some(nonce) => Self::Unclaimed(nonce),
            None if ready.version == 1 => Self::Unknown,
            None => Self::Claimed,
        }
    }

    /// Whether it is certain that both are the same runner.
    pub(super) fn is_surely(self, other: Self) -> bool {
        self == other && self != Self::Unknown
    }
}

impl InvokedRunner {
    /// The file in the link directory of a slot.
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self { file: directory.join(FILE) }
    }

    /// The runner that an invocation was given to; `None` if there was none, or an earlier version of the platform has
    /// given it.
    pub(super) fn read(&self) -> io::Result<Option<RunnerIdentity>> {
        match fs::read(&self.file) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Records, before an invocation is given to `runner`, that it is.
    pub(super) fn write(&self, runner: RunnerIdentity) -> io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.file)?;
        file.write_all(&serde_json::to_vec(&runner)?)
    }

    /// Forgets it, for a new container.
    pub(super) fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
