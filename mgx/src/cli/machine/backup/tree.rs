//! The files below a directory, without following a link: processes in containers can exchange files for links meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;

/// Prefixes of workspaces that are being created or removed.
const HALF_MADE: [&[u8]; 2] = [b".new-", b".old-"];

/// One file, directory or link.
#[derive(Debug)]
pub(super) struct Node {
    /// Its path below the directory.
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
    pub(super) content: Content,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Content {
    Directory,
    File(File),
    /// A link, and where it leads.
    Link(Vec<u8>),
}

/// Walks over a directory, each directory before what is in it.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    /// Directories that were found and not yet read.
    waiting: Vec<PathBuf>,
    /// Of the directory that is read: its path, its descriptor, and the names that are left.
    current: Option<(PathBuf, OwnedFd, Vec<Vec<u8>>)>,
    /// What was left out: sockets, devices and the like, and what vanished or cannot be reached any more.
    pub(super) left_out: u64,
}

/// Opens a directory below `root`, through no link.
pub(super) fn open_dir(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), beneath)
}

impl Tree {
    /// The files below `root`.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, root, flags, Mode::empty())?;
        Ok(Self { root, waiting: vec![PathBuf::new()], current: None, left_out: 0 })
    }

    /// The next file; `None` after the last one.
    pub(super) fn next(&mut self) -> io::Result<Option<Node>> {
        loop {
            let Some((dir, fd, names)) = &mut self.current else {
                let Some(dir) = self.waiting.pop() else { return Ok(None) };
                match open_dir(&self.root, &dir) {
                    Ok(fd) => self.current = Some((dir.clone(), fd, Vec::new())),
                    Err(error) if is_gone(error) => {
                        self.left_out += 1;
                        continue;
                    }
                    Err(error) => return Err(named(&dir, error)),
                }
                if let Some((dir, fd, names)) = &mut self.current {
                    *names = sorted_names(fd).map_err(|error| named(dir, error))?;
                    if dir.as_os_str().is_empty() {
                        names.retain(|name| !HALF_MADE.iter().any(|prefix| name.starts_with(prefix)));
                    }
                }
                continue;
            };
            let Some(name) = names.pop() else {
                self.current = None;
                continue;
            };
            let path = dir.join(OsStr::from_bytes(&name));
            match look(fd, &name) {
                Ok(Some((stat, content))) => {
                    if matches!(content, Content::Directory) {
                        self.waiting.push(path.clone());
                    }
                    return Ok(Some(Node { path, stat, content }));
                }
                Ok(None) => self.left_out += 1,
                Err(error) if is_gone(error) => self.left_out += 1,
                Err(error) => return Err(named(&path, error)),
            }
        }
    }
}

/// The names in a directory, so that the last one is the first in the order of the alphabet.
fn sorted_names(dir: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// What `name` is; `None` if it is neither file nor directory nor link.
fn look(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<Option<(Stat, Content)>> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(Some((stat, Content::Directory))),
        FileType::Symlink => Ok(Some((stat, Content::Link(readlinkat(dir, name, Vec::new())?.into_bytes())))),
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(dir, name, flags, Mode::empty())?;
            // another file may have this name by now
            let stat = fstat(&file)?;
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            Ok(is_file.then(|| (stat, Content::File(file.into()))))
        }
        _ => Ok(None),
    }
}

/// Whether a file has vanished, was exchanged for something else, or lies deeper than a path can say.
fn is_gone(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::NAMETOOLONG | Errno::NXIO
    )
}

fn named(path: &Path, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
