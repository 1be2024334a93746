//! The open root directory and the settings that all workspaces share, and one open workspace below it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mgx_protocol::WorkspaceId;

use crate::confinement::beneath::FileOwner;

/// How many locks the workspaces share.
pub(crate) const LOCKS: usize = 64;

/// What all workspaces share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The directory of the workspaces.
    pub(crate) dir: OwnedFd,
    /// Its path for this process.
    pub(crate) root: PathBuf,
    /// Its path for the container engine.
    pub(crate) host_root: PathBuf,
    pub(crate) owner: FileOwner,
    pub(crate) max_file_bytes: u64,
    /// Each workspace's changes are guarded by one of them. Two workspaces may share a lock; it is held for a few
    /// system calls.
    pub(crate) locks: [Mutex<()>; LOCKS],
}

/// The open directory of one workspace. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct WorkspaceDir {
    pub(crate) dir: Arc<OwnedFd>,
    pub(crate) shared: Arc<Shared>,
    /// Which of the locks guards this workspace's changes.
    lock: usize,
}

impl WorkspaceDir {
    /// The open directory `dir` of the workspace `id`.
    pub(crate) fn new(id: &WorkspaceId, dir: OwnedFd, shared: Arc<Shared>) -> Self {
        let hash =
            id.as_str().bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Self { dir: Arc::new(dir), shared, lock: hash % LOCKS }
    }

    /// Locks out other changes through the platform. Changes by processes in the container cannot be locked out.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        // the lock guards only the order of system calls, which a panic cannot break
        self.shared.locks[self.lock].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
