//! A file on its way in: beside the old one until it is whole, then in its place.

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

use crate::beneath::{self, FILE_MODE};
use crate::file::{Condition, ETag, FileError, Written};
use crate::path::WorkspacePath;
use crate::staged;
use crate::workspace::{Workspace, blocking};

/// A file on its way in. Dropped before [`Upload::commit`], it has never been there.
#[derive(Debug)]
pub struct Upload {
    file: tokio::fs::File,
    size: u64,
    target: Target,
}

/// Where it is to go.
#[derive(Debug)]
struct Target {
    workspace: Workspace,
    path: WorkspacePath,
    condition: Condition,
    place: Place,
}

/// The unfinished file, which goes away with this value.
#[derive(Debug)]
struct Place {
    dir: Arc<OwnedFd>,
    staged: String,
}

impl Upload {
    /// Begins; blocking.
    pub(crate) fn begin(
        workspace: Workspace,
        path: WorkspacePath,
        condition: Condition,
    ) -> Result<Self, FileError> {
        let dir = beneath::make_parent(&workspace.root, &path, workspace.shared.owner)?;
        let place = Place { dir: Arc::new(dir), staged: staged::name()? };
        let target = Target { workspace, path, condition, place };
        target.replaceable()?;
        let file = staged::create(&target.place.dir, &target.place.staged)?;
        beneath::give(&file, target.workspace.shared.owner)?;
        Ok(Self { file: file.into(), size: 0, target })
    }

    /// Adds bytes to its end.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], [`FileError::Full`] or [`FileError::Io`]; what was there stays as it was.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FileError> {
        let limit = self.target.workspace.shared.max_file_bytes;
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > limit {
            return Err(FileError::TooLarge { limit });
        }
        Ok(self.file.write_all(&bytes).await?)
    }

    /// Puts it, whole and durably, in place of what was there.
    ///
    /// # Errors
    /// [`FileError::EtagMismatch`] if the condition does not hold any more; what was there stays as it was.
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
    /// What the file would replace, if it may.
    fn replaceable(&self) -> Result<Option<Stat>, FileError> {
        let found = beneath::look(&self.place.dir, self.path.name())?;
        if let Some(stat) = &found {
            if beneath::kind(stat) == FileType::Symlink {
                // one that leads out is an escape, though it would be replaced and not followed
                beneath::open_beneath(&self.workspace.root, self.path.as_str(), OFlags::PATH)?;
            }
            if !beneath::is_plain(stat) {
                return Err(FileError::NotRegular);
            }
        }
        self.condition.check(found.as_ref().map(ETag::of))?;
        Ok(found)
    }

    fn replace(&self, file: &File) -> Result<Written, FileError> {
        let dir = &self.place.dir;
        // the kernel's own time stamps are some milliseconds coarse; two versions must never share one
        let now = Timestamp::now();
        let mtime = Timespec { tv_sec: now.as_second(), tv_nsec: i64::from(now.subsec_nanosecond()) };
        let atime = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let written = {
            let _alone = self.workspace.alone();
            let found = self.replaceable()?;
            let kept = |stat: &Stat| Mode::from_raw_mode(stat.st_mode & 0o777);
            fchmod(file, found.as_ref().map_or(FILE_MODE, kept))?;
            futimens(file, &Timestamps { last_access: atime, last_modification: mtime })?;
            fsync(file)?;
            renameat(dir, &self.place.staged, dir, self.path.name())?;
            Written { etag: ETag::of(&fstat(file)?), created: found.is_none() }
        };
        fsync(dir)?;
        Ok(written)
    }
}

impl Drop for Place {
    /// One quick call, so not worth another thread; after a commit there is nothing of the name any more.
    fn drop(&mut self) {
        unlinkat(&self.dir, &self.staged, AtFlags::empty()).ok();
    }
}
