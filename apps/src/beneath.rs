//! System calls that cannot leave a directory, whatever somebody does to the links below it meanwhile.
//!
//! Needs `openat2(2)`: Linux 5.6.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, fchmod, fchown, fstat, fsync, mkdirat,
    openat, openat2, statat,
};
use rustix::io::Errno;

use crate::file::FileError;
use crate::path::WorkspacePath;

/// Mode of a new directory.
pub(crate) const DIR_MODE: Mode = Mode::from_raw_mode(0o755);
/// Mode of a new file.
pub(crate) const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// How often a path is resolved anew when it changes meanwhile.
const TRIES: usize = 64;

/// Whom new files belong to; `None` leaves them to this process's user.
pub(crate) type Owner = Option<(Uid, Gid)>;

/// Opens `path` below `root`. A link on the way is followed as long as it stays inside. Never waits: not for the
/// other end of a FIFO either.
pub(crate) fn open_beneath(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, FileError> {
    let mut flags = flags | OFlags::CLOEXEC;
    if !flags.contains(OFlags::PATH) {
        flags |= OFlags::NONBLOCK | OFlags::NOCTTY;
    }
    for _ in 0..TRIES {
        match openat2(&root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
        {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened.map_err(FileError::from),
        }
    }
    // who moves things under every single try is on the way out
    Err(FileError::Escape)
}

/// Opens a directory, to read it or to work in it.
pub(crate) fn open_dir(root: impl AsFd, path: &str) -> Result<OwnedFd, FileError> {
    open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens the directory `name` of `parent` itself: not through a link.
pub(crate) fn open_child(parent: impl AsFd, name: &str) -> Result<OwnedFd, FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// The same for a name that the kernel remembers: it does not look at the disk, and so never waits for it. `None`: it
/// does not remember, or cannot (before Linux 5.12), or there is no such directory; [`open_child`] knows.
pub(crate) fn open_remembered_child(parent: impl AsFd, name: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let cached = ResolveFlags::CACHED | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(parent, name, flags, Mode::empty(), cached).ok()
}

/// Opens a regular file for reading.
pub(crate) fn open_file(root: impl AsFd, path: &WorkspacePath) -> Result<(File, Stat), FileError> {
    let fd = open_beneath(root, path.as_str(), OFlags::RDONLY)?;
    let stat = fstat(&fd)?;
    if is_plain(&stat) { Ok((fd.into(), stat)) } else { Err(FileError::NotRegular) }
}

/// Opens the directory that `path` lies in.
pub(crate) fn open_parent(root: impl AsFd, path: &WorkspacePath) -> Result<OwnedFd, FileError> {
    open_dir(root, path.parent().unwrap_or("."))
}

/// Opens the directory that `path` lies in, and makes what is missing of it, durably.
pub(crate) fn make_parent(root: impl AsFd, path: &WorkspacePath, owner: Owner) -> Result<OwnedFd, FileError> {
    match open_parent(&root, path) {
        Err(FileError::NotFound) => {}
        opened => return opened,
    }
    let mut dir = open_dir(&root, ".")?;
    let parent = path.parent().unwrap_or_default();
    let ends = parent.match_indices('/').map(|(at, _)| at).chain([parent.len()]);
    for end in ends {
        let below = &parent[..end];
        dir = match open_dir(&root, below) {
            Err(FileError::NotFound) => {
                let name = below.rsplit('/').next().unwrap_or(below);
                make_dir(&dir, name, owner)?;
                open_dir(&root, below)?
            }
            opened => opened?,
        };
    }
    Ok(dir)
}

/// Makes the directory `name` in `parent`, durably, and opens it. Finding it there is as good.
pub(crate) fn make_dir(parent: impl AsFd, name: &str, owner: Owner) -> Result<OwnedFd, FileError> {
    match mkdirat(&parent, name, DIR_MODE) {
        Err(Errno::EXIST) => return open_child(parent, name),
        made => made?,
    }
    let dir = open_child(&parent, name)?;
    fchmod(&dir, DIR_MODE)?;
    give(&dir, owner)?;
    fsync(&dir)?;
    fsync(&parent)?;
    Ok(dir)
}

/// Gives an open file or directory to its owner.
pub(crate) fn give(file: impl AsFd, owner: Owner) -> Result<(), FileError> {
    match owner {
        Some((uid, gid)) => Ok(fchown(file, Some(uid), Some(gid))?),
        None => Ok(()),
    }
}

/// What `name` in `parent` is, itself and not what it leads to; `None` if there is nothing.
pub(crate) fn look(parent: impl AsFd, name: &str) -> Result<Option<Stat>, FileError> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether it is a regular file that has no other name: one that has may be shared with a place outside.
pub(crate) fn is_plain(stat: &Stat) -> bool {
    kind(stat) == FileType::RegularFile && stat.st_nlink <= 1
}

/// What it is.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
