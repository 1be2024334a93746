//! Every workspace there is: the directories below one root.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mgx_agent_runner::WorkspaceId;

use crate::Framework;
use crate::file::FileError;
use crate::workspace::Workspace;

/// The workspaces. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workspaces {
    shared: Arc<Shared>,
}

/// What every workspace shares.
#[derive(Clone, Debug)]
pub(crate) struct Shared {}

/// Why a directory cannot be the root of the workspaces. The operator chooses another, or repairs it.
#[derive(Debug, thiserror::Error)]
pub enum UnsafeRoot {
    /// It is the root of the file system, or relative.
    #[error("{0} cannot hold workspaces: name an absolute directory of their own")]
    NotOwn(PathBuf),
    /// It is a symbolic link or not a directory at all.
    #[error("{0} is not a directory itself (a link is not enough)")]
    NotDirectory(PathBuf),
    /// Everybody may write there.
    #[error("{0} is writable for everybody: chmod o-w")]
    WorldWritable(PathBuf),
    /// It cannot be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Workspaces {
    /// Opens `root` (`WORKSPACES_ROOT`), the directory where this process finds the workspaces; it is made if it
    /// is missing. `host_root` (`HOST_WORKSPACES_ROOT`) is the same directory as the container engine sees it.
    ///
    /// # Errors
    /// [`UnsafeRoot`] if somebody else could put something in the workspaces' place.
    pub fn open(_root: PathBuf, _host_root: Option<PathBuf>) -> Result<Self, UnsafeRoot> {
        unimplemented!()
    }

    /// Lets new files belong to this user and group, if this process may give files away at all.
    /// By default they are those of the containers, 10001.
    #[must_use]
    pub fn owned_by(self, _uid: u32, _gid: u32) -> Self {
        unimplemented!()
    }

    /// Bytes that one file may have; 32 MiB by default.
    #[must_use]
    pub fn max_file_bytes(self, _limit: u64) -> Self {
        unimplemented!()
    }

    /// Makes a workspace with the starter files of `framework`, wholly or not at all. `false`: it was there
    /// already, and stays as it is.
    ///
    /// # Errors
    /// [`FileError::Full`] or [`FileError::Io`].
    pub async fn create(&self, _id: &WorkspaceId, _framework: Framework) -> Result<bool, FileError> {
        unimplemented!()
    }

    /// Opens a workspace.
    ///
    /// # Errors
    /// [`FileError::NotFound`] if there is none, or [`FileError::Io`].
    pub async fn workspace(&self, _id: &WorkspaceId) -> Result<Workspace, FileError> {
        unimplemented!()
    }

    /// Removes a workspace with all its files. Whether there was one.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub async fn remove(&self, _id: &WorkspaceId) -> Result<bool, FileError> {
        unimplemented!()
    }

    /// Where a workspace is, as the container engine sees it.
    pub fn host_path(&self, _id: &WorkspaceId) -> PathBuf {
        unimplemented!()
    }

    /// Where the workspaces are, as this process sees them.
    pub fn root(&self) -> &Path {
        unimplemented!()
    }
}
