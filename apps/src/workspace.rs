//! One workspace: reading, writing, deleting and listing its files, and never anything outside of it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

use crate::file::{Condition, FileError, FileView, Listing, Written};
use crate::path::WorkspacePath;
use crate::workspaces::Shared;

/// One workspace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub(crate) root: Arc<OwnedFd>,
    pub(crate) shared: Arc<Shared>,
}

/// What to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The directory; `None` is the workspace itself.
    pub dir: Option<WorkspacePath>,
    /// How many levels below it, at least 1: its own entries. At most [`ListQuery::MAX_DEPTH`].
    pub depth: usize,
    /// Only what comes after this path ([`Listing::next`] of the page before).
    pub after: Option<WorkspacePath>,
    /// How many entries, 1 to [`ListQuery::MAX_LIMIT`].
    pub limit: usize,
}

impl ListQuery {
    /// The deepest that a list goes.
    pub const MAX_DEPTH: usize = 32;
    /// The most entries on a page.
    pub const MAX_LIMIT: usize = 1000;
}

impl Default for ListQuery {
    fn default() -> Self {
        Self { dir: None, depth: 1, after: None, limit: Self::MAX_LIMIT }
    }
}

/// A file on its way in. Dropped before [`Upload::commit`], it has never been there.
#[derive(Debug)]
pub struct Upload {}

impl Upload {
    /// Adds bytes to its end.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], [`FileError::Full`] or [`FileError::Io`]; what was there stays as it was.
    pub async fn write(&mut self, _bytes: Bytes) -> Result<(), FileError> {
        unimplemented!()
    }

    /// Puts it, whole and durably, in place of what was there.
    ///
    /// # Errors
    /// [`FileError::EtagMismatch`] if the condition does not hold any more; what was there stays as it was.
    pub async fn commit(self) -> Result<Written, FileError> {
        unimplemented!()
    }
}

impl Workspace {
    /// One page of what lies in a directory.
    ///
    /// # Errors
    /// [`FileError::NotFound`], [`FileError::NotDirectory`], [`FileError::Escape`] or [`FileError::Io`].
    pub async fn list(&self, _query: ListQuery) -> Result<Listing, FileError> {
        unimplemented!()
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// Every [`FileError`] that a path can bring.
    pub async fn read(&self, _path: &WorkspacePath) -> Result<FileView, FileError> {
        unimplemented!()
    }

    /// Begins to write a file: see [`Upload`]. Missing directories are made.
    ///
    /// # Errors
    /// Every [`FileError`] that a path can bring, and [`FileError::EtagMismatch`].
    pub async fn upload(&self, _path: &WorkspacePath, _condition: Condition) -> Result<Upload, FileError> {
        unimplemented!()
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
    ///
    /// # Errors
    /// Every [`FileError`] that a path can bring, and [`FileError::EtagMismatch`].
    pub async fn delete(&self, _path: &WorkspacePath, _condition: Condition) -> Result<(), FileError> {
        unimplemented!()
    }
}
