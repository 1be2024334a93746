//! Files that only their owner may read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The permissions of everyone but the owner.
const OTHERS: u32 = 0o077;

/// Why a file that holds a secret is not safe, if others than its owner can read or write it.
pub(crate) fn exposure(file: &Metadata) -> Option<String> {
    let mode = file.mode() & 0o7777;
    (mode & OTHERS != 0).then(|| format!("has mode {mode:04o}; only its owner may read it (chmod 600)"))
}
