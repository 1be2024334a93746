//! System calls that cannot leave a directory, even while a process in the container changes the links below it.
//!
//! They need `openat2(2)`: Linux 5.6.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, fchmod, fchown, fstat, fsync, mkdirat,
    openat, openat2, statat,
};
use rustix::io::Errno;

use crate::error::FileError;
use crate::name::on_disk;
use crate::path::WorkspacePath;

/// Mode of a new directory.
pub(crate) const DIR_MODE: Mode = Mode::from_raw_mode(0o755);
/// Mode of a new file.
pub(crate) const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// How often a path is resolved again because a directory on it was moved meanwhile.
const MAX_RESOLVE_ATTEMPTS: usize = 64;

/// The user and group of new files; `None`: those of this process.
pub(crate) type FileOwner = Option<(Uid, Gid)>;

/// Opens `path` below `root`. A link on the path is followed as long as it stays inside. Never waits, not even for
/// the other end of a FIFO.
pub(crate) fn open_beneath(
    root: impl AsFd,
    path: impl AsRef<OsStr>,
    flags: OFlags,
) -> Result<OwnedFd, FileError> {
    let path = path.as_ref();
    let mut flags = flags | OFlags::CLOEXEC;
    if !flags.contains(OFlags::PATH) {
        flags |= OFlags::NONBLOCK | OFlags::NOCTTY;
    }
    for _ in 0..MAX_RESOLVE_ATTEMPTS {
        match openat2(&root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
        {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened.map_err(FileError::from),
        }
    }
    // a process that moves a directory during every attempt is taken for one that tries to leave the workspace
    Err(FileError::Escape)
}

/// Opens a directory below `root`.
pub(crate) fn open_dir(root: impl AsFd, path: impl AsRef<OsStr>) -> Result<OwnedFd, FileError> {
    open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens the directory `name` of `parent`; a link to a directory is refused.
pub(crate) fn open_child(parent: impl AsFd, name: impl AsRef<OsStr>) -> Result<OwnedFd, FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name.as_ref(), flags, Mode::empty())?)
}

/// Like [`open_child`], but only for a name that the kernel has in its cache, so that it never waits for the disk.
/// `None`: the name is not in the cache, the kernel is older than Linux 5.12, or there is no such directory; ask
/// [`open_child`] then.
pub(crate) fn open_cached_child(parent: impl AsFd, name: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let cached = ResolveFlags::CACHED | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(parent, name, flags, Mode::empty(), cached).ok()
}

/// Opens a regular file for reading.
pub(crate) fn open_file(root: impl AsFd, path: &WorkspacePath) -> Result<(File, Stat), FileError> {
    let fd = open_beneath(root, path.on_disk(), OFlags::RDONLY)?;
    let stat = fstat(&fd)?;
    if is_plain(&stat) { Ok((fd.into(), stat)) } else { Err(FileError::NotRegular) }
}

/// Opens the directory that contains `path`.
pub(crate) fn open_parent(root: impl AsFd, path: &WorkspacePath) -> Result<OwnedFd, FileError> {
    open_dir(root, on_disk(path.parent().unwrap_or(".")))
}

/// Opens the directory that contains `path`, and creates the missing directories on the path, durably.
pub(crate) fn make_parent(
    root: impl AsFd,
    path: &WorkspacePath,
    owner: FileOwner,
) -> Result<OwnedFd, FileError> {
    match open_parent(&root, path) {
        Err(FileError::NotFound) => {}
        opened => return opened,
    }
    let mut dir = open_dir(&root, ".")?;
    let parent = path.parent().unwrap_or_default();
    let ends = parent.match_indices('/').map(|(at, _)| at).chain([parent.len()]);
    for end in ends {
        let below = &parent[..end];
        dir = match open_dir(&root, on_disk(below)) {
            Err(FileError::NotFound) => {
                let name = below.rsplit('/').next().unwrap_or(below);
                make_dir(&dir, on_disk(name), owner)?;
                open_dir(&root, on_disk(below))?
            }
            opened => opened?,
        };
    }
    Ok(dir)
}

/// Creates the directory `name` in `parent`, durably, and opens it; opens the one that is there already.
pub(crate) fn make_dir(
    parent: impl AsFd,
    name: impl AsRef<OsStr>,
    owner: FileOwner,
) -> Result<OwnedFd, FileError> {
    let name = name.as_ref();
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

/// Changes the owner of an open file or directory.
pub(crate) fn give(file: impl AsFd, owner: FileOwner) -> Result<(), FileError> {
    match owner {
        Some((uid, gid)) => Ok(fchown(file, Some(uid), Some(gid))?),
        None => Ok(()),
    }
}

/// The status of `name` in `parent`, of a link itself and not of its target; `None` if there is nothing.
pub(crate) fn status(parent: impl AsFd, name: impl AsRef<OsStr>) -> Result<Option<Stat>, FileError> {
    match statat(parent, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether it is a regular file with one name only: a second name (hard link) may lie outside of the workspace.
pub(crate) fn is_plain(stat: &Stat) -> bool {
    kind(stat) == FileType::RegularFile && stat.st_nlink <= 1
}

/// The type of file that a status names.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
