//! Starter files: what a new workspace begins with.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use include_dir::{Dir, DirEntry};
use rustix::fs::{fchmod, fsync};

use crate::confinement::beneath::{self, FILE_MODE, FileOwner};
use crate::error::FileError;
use crate::files::staged;

/// A directory of starter files, built into the binary with [`include_dir::include_dir!`].
pub type StarterFiles = Dir<'static>;

/// Creates the directory `name` in `parent` and copies the starter files into it, durably; blocking.
pub(crate) fn create(
    parent: impl AsFd,
    name: &str,
    starter: &StarterFiles,
    owner: FileOwner,
) -> Result<(), FileError> {
    copy(&beneath::make_dir(parent, name, owner)?, starter, owner)
}

fn copy(dir: &OwnedFd, starter: &Dir<'_>, owner: FileOwner) -> Result<(), FileError> {
    for entry in starter.entries() {
        let name = entry.path().file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| std::io::Error::other("a starter file has no name"))?;
        match entry {
            DirEntry::Dir(below) => copy(&beneath::make_dir(dir, name, owner)?, below, owner)?,
            DirEntry::File(source) => {
                let mut file = staged::create(dir, name)?;
                file.write_all(source.contents())?;
                fchmod(&file, FILE_MODE)?;
                beneath::give(&file, owner)?;
                file.sync_all()?;
            }
        }
    }
    Ok(fsync(dir)?)
}
