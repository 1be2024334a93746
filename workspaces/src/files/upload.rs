//! An upload: a file that is written beside the old one and takes its place when it is complete.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fchmod, fstat, fsync, futimens,
    renameat, unlinkat,
};
use tokio::io::AsyncWriteExt;

use crate::blocking::blocking;
use crate::confinement::beneath::{self, FILE_MODE};
use crate::error::FileError;
use crate::files::condition::Condition;
use crate::files::entry::Written;
use crate::files::etag::ETag;
use crate::files::staged;
use crate::name::on_disk;
use crate::path::WorkspacePath;
use crate::shared::WorkspaceDir;

/// A file that is being written. If it is dropped before [`Upload::commit`], nothing has changed.
#[derive(Debug)]
pub struct Upload {
    file: tokio::fs::File,
    size: u64,
    target: Target,
}

/// The file that an upload creates or replaces.
#[derive(Debug)]
struct Target {
    workspace: WorkspaceDir,
    path: WorkspacePath,
    condition: Condition,
    temporary: TemporaryFile,
}

/// The unfinished file, which is removed when this value is dropped.
#[derive(Debug)]
struct TemporaryFile {
    dir: Arc<OwnedFd>,
    name: String,
}

impl Upload {
    /// Creates the temporary file; blocking.
    pub(crate) fn begin(
        workspace: WorkspaceDir,
        path: WorkspacePath,
        condition: Condition,
    ) -> Result<Self, FileError> {
        let dir = beneath::make_parent(&workspace.dir, &path, workspace.shared.owner)?;
        let temporary = TemporaryFile { dir: Arc::new(dir), name: staged::temporary_name()? };
        let target = Target { workspace, path, condition, temporary };
        target.check()?;
        let file = staged::create(&target.temporary.dir, &target.temporary.name)?;
        beneath::give(&file, target.workspace.shared.owner)?;
        Ok(Self { file: file.into(), size: 0, target })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], [`FileError::Full`] or [`FileError::Io`]; the old file stays as it was.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FileError> {
        let limit = self.target.workspace.shared.max_file_bytes;
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > limit {
            return Err(FileError::TooLarge { limit });
        }
        Ok(self.file.write_all(&bytes).await?)
    }

    /// Replaces the old file with the complete new one, durably.
    ///
    /// # Errors
    /// [`FileError::EtagMismatch`] if the condition does not hold any more; the old file stays as it was.
    pub async fn commit(mut self) -> Result<Written, FileError> {
        if self.size > self.target.workspace.shared.max_file_bytes {
            return Err(FileError::TooLarge { limit: self.target.workspace.shared.max_file_bytes });
        }
        self.file.flush().await?;
        let (file, target) = (self.file.into_std().await, self.target);
        blocking(move || target.replace(&file)).await
    }
}

impl Target {
    /// The file that would be replaced, if there is one, after a check that it may be.
    fn check(&self) -> Result<Option<Stat>, FileError> {
        let found = beneath::status(&self.temporary.dir, on_disk(self.path.name()))?;
        if let Some(stat) = &found {
            if beneath::kind(stat) == FileType::Symlink {
                // a link that leads out is refused as an escape, although it would be replaced and not followed
                beneath::open_beneath(&self.workspace.dir, self.path.on_disk(), OFlags::PATH)?;
            }
            if !beneath::is_plain(stat) {
                return Err(FileError::NotRegular);
            }
        }
        self.condition.check(found.as_ref().map(ETag::of))?;
        Ok(found)
    }

    fn replace(&self, file: &File) -> Result<Written, FileError> {
        let dir = &self.temporary.dir;
        // the kernel's own time stamps have a resolution of some milliseconds; two versions must never share one
        let now = Timestamp::now();
        let mtime = Timespec { tv_sec: now.as_second(), tv_nsec: i64::from(now.subsec_nanosecond()) };
        let atime = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let written = {
            let _guard = self.workspace.lock();
            let found = self.check()?;
            let kept = |stat: &Stat| Mode::from_raw_mode(stat.st_mode & 0o777);
            fchmod(file, found.as_ref().map_or(FILE_MODE, kept))?;
            futimens(file, &Timestamps { last_access: atime, last_modification: mtime })?;
            fsync(file)?;
            renameat(dir, &self.temporary.name, dir, &*on_disk(self.path.name()))?;
            Written { etag: ETag::of(&fstat(file)?), created: found.is_none() }
        };
        fsync(dir)?;
        Ok(written)
    }
}

impl Drop for TemporaryFile {
    /// One short system call, so it is made on this thread; after a commit there is no file of this name any more.
    fn drop(&mut self) {
        unlinkat(&self.dir, &self.name, AtFlags::empty()).ok();
    }
}
