//! What is in a backup: a gzipped tar archive whose first entry says what it holds, and whose last one says that it is whole.

use jiff::Timestamp;
use mgx_store::Snapshot;
use ring::digest::{Context, Digest, SHA256};
use serde::{Deserialize, Serialize};

/// The version of this format.
pub(super) const FORMAT: u32 = 1;

/// The first entry, a [`Manifest`].
pub(super) const MANIFEST: &str = "backup.json";

/// The store.
pub(super) const STORE: &str = "mgx.db";

/// The folder of the keys.
pub(super) const KEYS: &str = "keys";

/// The folder of the workspaces.
pub(super) const WORKSPACES: &str = "workspaces";

/// The last entry, an [`End`].
pub(super) const END: &str = "end.json";

/// Bytes that the first and the last entry may have.
pub(super) const MAX_JSON_BYTES: u64 = 64 * 1024;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// The version of the program that made it.
    pub(super) version: String,
    pub(super) made_at: Timestamp,
    pub(super) keys: bool,
    pub(super) workspaces: bool,
    pub(super) store: Snapshot,
}

/// The sum of everything before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) entries: u64,
    /// The SHA-256 of the lines `<SHA-256 of its content>  <path>` of every entry, in their order.
    pub(super) sha256: String,
}

/// Counts entries and sums them up, in the same way when they are written and when they are read.
#[derive(Clone)]
pub(super) struct Tally {
    entries: u64,
    lines: Context,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { entries: 0, lines: Context::new(&SHA256) }
    }

    /// Adds an entry: its path in the archive, and the SHA-256 of its content (of a link: of its target).
    pub(super) fn add(&mut self, path: &[u8], content: &Digest) {
        self.entries += 1;
        self.lines.update(hex(content).as_bytes());
        self.lines.update(b"  ");
        self.lines.update(path);
        self.lines.update(b"\n");
    }

    pub(super) fn end(self) -> End {
        End { entries: self.entries, sha256: hex(&self.lines.finish()) }
    }
}

fn hex(digest: &Digest) -> String {
    mgx_workspaces::hex(digest.as_ref())
}
