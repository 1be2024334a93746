//! Removal of a directory tree, which the processes of a container may have made as deep and as wide as they could.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::confinement::beneath::open_child;
use crate::error::FileError;

/// How many passes over the tree are made before a process is assumed to keep adding files to it.
const MAX_PASSES: usize = 100_000;

/// Removes the directory `name` of `parent` with everything in it; blocking. Follows no link.
///
/// Directories that are found inside are moved up to the top level, so that depth costs neither stack nor descriptors.
pub(crate) fn remove_tree(parent: impl AsFd, name: &str) -> Result<(), FileError> {
    let top = match open_child(&parent, name) {
        Err(FileError::NotFound) => return Ok(()),
        opened => opened?,
    };
    let mut moved = 0;
    for _ in 0..MAX_PASSES {
        match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        for entry in Dir::read_from(&top)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || remove_entry(&top, name)? {
                continue;
            }
            let Ok(name) = name.to_str() else {
                // a name that is not UTF-8 is replaced; the next pass removes the directory
                move_to_top(&top, name, &top, &mut moved)?;
                continue;
            };
            let child = open_child(&top, name)?;
            for entry in Dir::read_from(&child)? {
                let entry = entry?;
                let name = entry.file_name();
                if !matches!(name.to_bytes(), b"." | b"..") && !remove_entry(&child, name)? {
                    move_to_top(&child, name, &top, &mut moved)?;
                }
            }
        }
    }
    Err(FileError::Io(std::io::Error::other(
        "a process keeps adding files to the directory that is being removed",
    )))
}

/// Removes a file or an empty directory. `false`: it is a directory that is not empty.
fn remove_entry(dir: &OwnedFd, name: &CStr) -> Result<bool, FileError> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    match unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Moves the directory `name` of `from` to `top`, under the next free name.
fn move_to_top(from: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> Result<(), FileError> {
    loop {
        *moved += 1;
        match renameat_with(from, name, top, format!(".mgx-{moved}"), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
