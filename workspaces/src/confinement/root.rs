//! The root directory of the workspaces, refused if another user of the host could replace what lies in it.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, stat};
use rustix::io::Errno;

use crate::confinement::beneath;
use crate::error::FileError;

/// Why a directory cannot be the root of the workspaces. The operator chooses another, or repairs it.
#[derive(Debug, thiserror::Error)]
pub enum UnsafeRoot {
    /// The root of the file system, or (for the engine) a relative path.
    #[error("{0} cannot hold workspaces: name an absolute directory of their own")]
    NotOwn(PathBuf),
    /// A symbolic link, or not a directory at all.
    #[error("{0} is not a directory itself (a link to one is not enough)")]
    NotDirectory(PathBuf),
    /// Every user of the host may write there.
    #[error("{0} is writable for everybody: chmod o-w")]
    WorldWritable(PathBuf),
    /// The directory cannot be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Opens the root, creates it if it is missing, and checks the directory that was really opened.
pub(crate) fn open_root(given: &Path) -> Result<(PathBuf, OwnedFd), UnsafeRoot> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| UnsafeRoot::Io { path, source }
    };
    // also removes a trailing slash, which would follow a link
    let root: PathBuf = std::path::absolute(given).map_err(io(given))?.components().collect();
    if !is_absolute_directory(&root) {
        return Err(UnsafeRoot::NotOwn(root));
    }
    DirBuilder::new().recursive(true).mode(0o755).create(&root).or_else(|error| {
        // what exists already is checked below
        if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(io(&root)(error)) }
    })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match openat(CWD, &root, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(UnsafeRoot::NotDirectory(root)),
        opened => opened.map_err(|errno| io(&root)(errno.into()))?,
    };
    let here = fstat(&dir).map_err(|errno| io(&root)(errno.into()))?;
    let top = stat("/").map_err(|errno| io(&root)(errno.into()))?;
    if (here.st_dev, here.st_ino) == (top.st_dev, top.st_ino) {
        return Err(UnsafeRoot::NotOwn(root));
    }
    debug_assert_eq!(beneath::kind(&here), FileType::Directory, "it was opened as one");
    if here.st_mode & 0o002 != 0 && here.st_mode & 0o1000 == 0 {
        return Err(UnsafeRoot::WorldWritable(root));
    }
    // a kernel before 5.6 has no openat2: fail now and not at the first file
    match beneath::open_dir(&dir, ".") {
        Err(FileError::Io(source)) => Err(UnsafeRoot::Io { path: root, source }),
        Ok(_) | Err(_) => Ok((root, dir)),
    }
}

/// Whether it is the absolute path of a directory other than `/`, without `.` and `..`.
pub(crate) fn is_absolute_directory(path: &Path) -> bool {
    path.is_absolute()
        && path.components().any(|part| matches!(part, Component::Normal(_)))
        && path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir))
}
