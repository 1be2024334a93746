//! One workspace: reading, writing, deleting and listing its files, and never anything outside of it.
//!
//! Whoever works in the container can put links, FIFOs and devices here and swap them at any moment, so every
//! call goes through [`crate::beneath`] and none of them ever waits for something in the workspace.

use std::os::fd::OwnedFd;
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, fsync, renameat, unlinkat};

use crate::beneath;
use crate::file::{Condition, ETag, FileError, FileView, Listing, Written, modified};
use crate::listing::{self, ListQuery};
use crate::path::WorkspacePath;
use crate::removal::remove_tree;
use crate::staged;
use crate::upload::Upload;
use crate::workspaces::Shared;

/// One workspace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub(crate) root: Arc<OwnedFd>,
    pub(crate) shared: Arc<Shared>,
    /// Which of the locks guards this workspace's changes.
    pub(crate) lock: usize,
}

impl Workspace {
    /// One page of what lies in a directory.
    ///
    /// # Errors
    /// [`FileError::NotFound`], [`FileError::NotDirectory`], [`FileError::Escape`] or [`FileError::Io`].
    pub async fn list(&self, query: ListQuery) -> Result<Listing, FileError> {
        let root = self.root.clone();
        blocking(move || listing::page(&root, &query)).await
    }

    /// Opens a regular file for reading. A link that stays inside is followed.
    ///
    /// # Errors
    /// Every [`FileError`] that a path can bring.
    pub async fn read(&self, path: &WorkspacePath) -> Result<FileView, FileError> {
        let (root, path) = (self.root.clone(), path.clone());
        let (file, stat) = blocking(move || beneath::open_file(&root, &path)).await?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(FileView { size, etag: ETag::of(&stat), modified: modified(&stat), file: file.into() })
    }

    /// Begins to write a file. Missing directories are made.
    ///
    /// # Errors
    /// Every [`FileError`] that a path can bring, and [`FileError::EtagMismatch`].
    pub async fn upload(&self, path: &WorkspacePath, condition: Condition) -> Result<Upload, FileError> {
        let (workspace, path) = (self.clone(), path.clone());
        blocking(move || Upload::begin(workspace, path, condition)).await
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// As [`Workspace::upload`], [`Upload::write`] and [`Upload::commit`].
    pub async fn write(
        &self,
        path: &WorkspacePath,
        bytes: Bytes,
        condition: Condition,
    ) -> Result<Written, FileError> {
        let mut upload = self.upload(path, condition).await?;
        upload.write(bytes).await?;
        upload.commit().await
    }

    /// Deletes a file, a link (never what it leads to), or a directory with all that lies in it.
    /// Only files have versions, so [`Condition::Matches`] holds for nothing else.
    ///
    /// # Errors
    /// Every [`FileError`] that a path can bring, and [`FileError::EtagMismatch`].
    pub async fn delete(&self, path: &WorkspacePath, condition: Condition) -> Result<(), FileError> {
        let (workspace, path) = (self.clone(), path.clone());
        blocking(move || workspace.delete_now(&path, &condition)).await
    }

    /// Waits until nobody else changes a file through the platform. What the container does meanwhile is
    /// beyond any lock of ours.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        // nothing is guarded but the order of system calls, which a panic cannot break
        self.shared.locks[self.lock].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delete_now(&self, path: &WorkspacePath, condition: &Condition) -> Result<(), FileError> {
        let dir = beneath::open_parent(&self.root, path)?;
        let staged = staged::name()?;
        let tree = {
            let _alone = self.alone();
            let found = beneath::look(&dir, path.name())?;
            let is = |kind| found.as_ref().is_some_and(|stat| beneath::kind(stat) == kind);
            if matches!(condition, Condition::Matches(_)) && !is(FileType::RegularFile) {
                return Err(FileError::EtagMismatch { current: None });
            }
            condition.check(found.as_ref().map(ETag::of))?;
            if found.is_none() {
                return Err(FileError::NotFound);
            }
            if is(FileType::Directory) {
                renameat(&dir, path.name(), &self.root, &staged)?;
            } else {
                unlinkat(&dir, path.name(), AtFlags::empty())?;
            }
            is(FileType::Directory)
        };
        fsync(&dir)?;
        if tree { remove_tree(&self.root, &staged) } else { Ok(()) }
    }
}

/// Runs file work on a thread that may wait for the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(FileError::Io(std::io::Error::other("the platform is shutting down"))),
        },
    }
}
