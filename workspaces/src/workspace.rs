//! One workspace: reading, writing, deleting and listing its files, and never anything outside of it.
//!
//! A process in the container can put links, FIFOs and devices here and exchange them at any moment. So every call goes
//! through [`crate::confinement::beneath`], and none waits for a file in the workspace.

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, fsync, renameat, unlinkat};

use crate::blocking::blocking;
use crate::confinement::beneath;
use crate::confinement::removal::remove_tree;
use crate::error::FileError;
use crate::files::condition::Condition;
use crate::files::entry::{FileView, Listing, Written, modified};
use crate::files::etag::ETag;
use crate::files::listing::{self, ListQuery};
use crate::files::staged::temporary_name;
use crate::files::upload::Upload;
use crate::name::on_disk;
use crate::path::WorkspacePath;
use crate::shared::WorkspaceDir;

/// One workspace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workspace(pub(crate) WorkspaceDir);

impl Workspace {
    /// Lists one page of a directory.
    ///
    /// # Errors
    /// [`FileError::NotFound`], [`FileError::NotDirectory`], [`FileError::Escape`] or [`FileError::Io`].
    pub async fn list(&self, query: ListQuery) -> Result<Listing, FileError> {
        let dir = self.0.dir.clone();
        blocking(move || listing::page(&dir, &query)).await
    }

    /// Opens a regular file for reading. A link that stays inside is followed.
    ///
    /// # Errors
    /// Every [`FileError`] that a path can cause.
    pub async fn read(&self, path: &WorkspacePath) -> Result<FileView, FileError> {
        let (dir, path) = (self.0.dir.clone(), path.clone());
        let (file, stat) = blocking(move || beneath::open_file(&dir, &path)).await?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(FileView { size, etag: ETag::of(&stat), modified: modified(&stat), file: file.into() })
    }

    /// Begins to write a file. Missing directories are created.
    ///
    /// # Errors
    /// Every [`FileError`] that a path can cause, and [`FileError::EtagMismatch`].
    pub async fn upload(&self, path: &WorkspacePath, condition: Condition) -> Result<Upload, FileError> {
        let (workspace, path) = (self.0.clone(), path.clone());
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

    /// Deletes a file, a link (never its target), or a directory with everything in it. Only files have versions, so
    /// [`Condition::Matches`] holds for nothing else.
    ///
    /// # Errors
    /// Every [`FileError`] that a path can cause, and [`FileError::EtagMismatch`].
    pub async fn delete(&self, path: &WorkspacePath, condition: Condition) -> Result<(), FileError> {
        let (workspace, path) = (self.0.clone(), path.clone());
        blocking(move || delete(&workspace, &path, &condition)).await
    }
}

fn delete(workspace: &WorkspaceDir, path: &WorkspacePath, condition: &Condition) -> Result<(), FileError> {
    let dir = beneath::open_parent(&workspace.dir, path)?;
    let (temporary, name) = (temporary_name()?, on_disk(path.name()));
    let is_directory = {
        let _guard = workspace.lock();
        let found = beneath::status(&dir, &name)?;
        let is = |kind| found.as_ref().is_some_and(|stat| beneath::kind(stat) == kind);
        if matches!(condition, Condition::Matches(_)) && !is(FileType::RegularFile) {
            return Err(FileError::EtagMismatch { current: None });
        }
        condition.check(found.as_ref().map(ETag::of))?;
        if found.is_none() {
            return Err(FileError::NotFound);
        }
        if is(FileType::Directory) {
            renameat(&dir, &*name, &workspace.dir, &temporary)?;
        } else {
            unlinkat(&dir, &*name, AtFlags::empty())?;
        }
        is(FileType::Directory)
    };
    fsync(&dir)?;
    if is_directory { remove_tree(&workspace.dir, &temporary) } else { Ok(()) }
}
