//! Files that are written under a temporary name and renamed, or linked, to their own name when they are complete.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags, fsync, linkat, openat, unlinkat};
use rustix::io::Errno;

use crate::error::FileError;
use crate::random::random_hex;

const PREFIX: &str = ".mgx-";
const SUFFIX: &str = ".part";

/// A temporary name that cannot be guessed.
pub(crate) fn temporary_name() -> Result<String, FileError> {
    Ok(format!("{PREFIX}{}{SUFFIX}", random_hex::<8>()?))
}

/// Whether `name` is a temporary name, which no list shows.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.ends_with(SUFFIX))
}

/// Creates an empty file in `dir` that only this process's user may read and write.
pub(crate) fn create(dir: impl AsFd, name: &str) -> Result<File, FileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Writes a small file (mode 0600) that is never changed afterwards: complete and durable. `false`: there is a file of
/// this name already, and it stays as it is.
///
/// # Errors
/// [`FileError::Full`] or [`FileError::Io`].
pub fn write_once(dir: impl AsFd, name: &str, bytes: &[u8]) -> Result<bool, FileError> {
    let temporary = temporary_name()?;
    let mut file = create(&dir, &temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).map_err(FileError::from);
    let linked = written.and_then(|()| match linkat(&dir, &temporary, &dir, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    });
    unlinkat(&dir, &temporary, AtFlags::empty())?;
    fsync(&dir)?;
    linked
}
