//! Removing a directory tree that its owner may have made as deep and as wide as it could.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::beneath::open_child;
use crate::file::FileError;

/// How often the tree is gone through before we believe that somebody keeps filling it.
const PASSES: usize = 100_000;

/// Removes the directory `name` of `parent` with all that lies in it; blocking. Nothing is followed anywhere.
///
/// Directories that are found inside are moved up to the top, so depth costs neither stack nor descriptors.
pub(crate) fn remove_tree(parent: impl AsFd, name: &str) -> Result<(), FileError> {
    let top = match open_child(&parent, name) {
        Err(FileError::NotFound) => return Ok(()),
        opened => opened?,
    };
    let mut moved = 0;
    for _ in 0..PASSES {
        match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        for entry in Dir::read_from(&top)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || gone(&top, name)? {
                continue;
            }
            let Ok(name) = name.to_str() else {
                // what is not UTF-8 gets a name that is, and its turn in the next pass
                lift(&top, name, &top, &mut moved)?;
                continue;
            };
            let child = open_child(&top, name)?;
            for entry in Dir::read_from(&child)? {
                let entry = entry?;
                let name = entry.file_name();
                if !matches!(name.to_bytes(), b"." | b"..") && !gone(&child, name)? {
                    lift(&child, name, &top, &mut moved)?;
                }
            }
        }
    }
    Err(FileError::Io(std::io::Error::other("something keeps filling the directory that is to be removed")))
}

/// Removes a file or an empty directory. `false`: it is a directory with something in it.
fn gone(dir: &OwnedFd, name: &std::ffi::CStr) -> Result<bool, FileError> {
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

fn lift(from: &OwnedFd, name: &std::ffi::CStr, top: &OwnedFd, moved: &mut u64) -> Result<(), FileError> {
    loop {
        *moved += 1;
        match renameat_with(from, name, top, format!(".mgx-{moved}"), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
