//! Every workspace there is: the directories below one root.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use mgx_protocol::WorkspaceId;
use rustix::fs::{
    CWD, Dir, FileType, Gid, Mode, OFlags, RenameFlags, Uid, fstat, fsync, openat, renameat, renameat_with,
    stat,
};
use rustix::io::Errno;

use crate::Framework;
use crate::beneath::{self, Owner};
use crate::file::{FileError, modified};
use crate::removal::remove_tree;
use crate::staged::random_hex;
use crate::starter;
use crate::workspace::{Workspace, blocking};

/// The user and group of the containers.
pub const CONTAINER_ID: u32 = 10001;

/// Bytes that one file may have, unless [`Workspaces::max_file_bytes`] says otherwise.
pub const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// Workspaces on their way in and out. No workspace id begins with a dot.
const COMING: &str = ".new-";
const GOING: &str = ".old-";

/// Seconds after which a workspace on its way in has been forgotten by who made it.
const ABANDONED_S: i64 = 3600;

const LOCKS: usize = 64;

/// The workspaces. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workspaces {
    pub(crate) shared: Arc<Shared>,
}

/// What every workspace shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: OwnedFd,
    root: PathBuf,
    host_root: PathBuf,
    pub(crate) owner: Owner,
    pub(crate) max_file_bytes: u64,
    /// One of them guards the changes of each workspace; two workspaces may share one, and only wait a little.
    pub(crate) locks: [Mutex<()>; LOCKS],
}

/// Why a directory cannot be the root of the workspaces. The operator chooses another, or repairs it.
#[derive(Debug, thiserror::Error)]
pub enum UnsafeRoot {
    /// It is the root of the file system, or (for the engine) relative.
    #[error("{0} cannot hold workspaces: name an absolute directory of their own")]
    NotOwn(PathBuf),
    /// It is a symbolic link or not a directory at all.
    #[error("{0} is not a directory itself (a link to one is not enough)")]
    NotDirectory(PathBuf),
    /// Everybody may write there.
    #[error("{0} is writable for everybody: chmod o-w")]
    WorldWritable(PathBuf),
    /// It cannot be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How to open [`Workspaces`].
#[derive(Clone, Debug)]
pub struct WorkspacesConfig {
    /// `WORKSPACES_ROOT`: the directory where this process finds the workspaces; made if it is missing.
    pub root: PathBuf,
    /// `HOST_WORKSPACES_ROOT`: the same directory as the container engine sees it, if that is another path.
    pub host_root: Option<PathBuf>,
    /// The user and group that files belong to: those of the containers. Only root can give files away, so
    /// any other process's files are its own.
    pub owner: (u32, u32),
    /// Bytes that one file may have.
    pub max_file_bytes: u64,
}

impl WorkspacesConfig {
    /// The usual owner and limit.
    pub fn new(root: PathBuf, host_root: Option<PathBuf>) -> Self {
        Self { root, host_root, owner: (CONTAINER_ID, CONTAINER_ID), max_file_bytes: MAX_FILE_BYTES }
    }
}

impl Workspaces {
    /// [`Workspaces::with_config`] with the usual owner and limit.
    ///
    /// # Errors
    /// [`UnsafeRoot`] if somebody else could put something in the workspaces' place.
    pub fn open(root: PathBuf, host_root: Option<PathBuf>) -> Result<Self, UnsafeRoot> {
        Self::with_config(WorkspacesConfig::new(root, host_root))
    }

    /// Opens the root. Blocking: meant for the start of the program.
    ///
    /// # Errors
    /// [`UnsafeRoot`] if somebody else could put something in the workspaces' place.
    pub fn with_config(config: WorkspacesConfig) -> Result<Self, UnsafeRoot> {
        let (root, dir) = open_root(&config.root)?;
        let host_root = match config.host_root {
            Some(host) if is_own(&host) => host,
            Some(host) => return Err(UnsafeRoot::NotOwn(host)),
            None => root.clone(),
        };
        let (uid, gid) = config.owner;
        let owner = rustix::process::geteuid().is_root().then(|| (Uid::from_raw(uid), Gid::from_raw(gid)));
        let locks = std::array::from_fn(|_| Mutex::new(()));
        let max_file_bytes = config.max_file_bytes;
        Ok(Self { shared: Arc::new(Shared { dir, root, host_root, owner, max_file_bytes, locks }) })
    }

    /// Makes a workspace with the starter files of `framework`, wholly or not at all. `false`: it was there
    /// already, and stays as it is.
    ///
    /// # Errors
    /// [`FileError::Full`] or [`FileError::Io`].
    pub async fn create(&self, id: &WorkspaceId, framework: Framework) -> Result<bool, FileError> {
        let (shared, id) = (self.shared.clone(), id.clone());
        blocking(move || shared.create(id.as_str(), framework)).await
    }

    /// Opens a workspace.
    ///
    /// # Errors
    /// [`FileError::NotFound`] if there is none, or [`FileError::Io`].
    pub async fn workspace(&self, id: &WorkspaceId) -> Result<Workspace, FileError> {
        let (shared, name) = (self.shared.clone(), id.clone());
        let root = match beneath::open_remembered_child(&shared.dir, name.as_str()) {
            Some(root) => root,
            None => blocking(move || beneath::open_child(&shared.dir, name.as_str())).await?,
        };
        let lock =
            id.as_str().bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Ok(Workspace { root: Arc::new(root), shared: self.shared.clone(), lock: lock % LOCKS })
    }

    /// Removes a workspace with all its files. Whether there was one.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub async fn remove(&self, id: &WorkspaceId) -> Result<bool, FileError> {
        let (shared, id) = (self.shared.clone(), id.clone());
        blocking(move || shared.remove(id.as_str())).await
    }

    /// Clears away what a crash left half made or half removed. How many there were.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub async fn sweep(&self) -> Result<usize, FileError> {
        let shared = self.shared.clone();
        blocking(move || shared.sweep(Timestamp::now())).await
    }

    /// Where a workspace is, as the container engine sees it.
    pub fn host_path(&self, id: &WorkspaceId) -> PathBuf {
        self.shared.host_root.join(id.as_str())
    }

    /// Where the workspaces are, as this process sees them: absolute.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }
}

impl Shared {
    fn create(&self, id: &str, framework: Framework) -> Result<bool, FileError> {
        if beneath::look(&self.dir, id)?.is_some() {
            return Ok(false);
        }
        let staged = format!("{COMING}{}", random_hex::<8>()?);
        let made =
            starter::make(&self.dir, &staged, framework, self.owner).and_then(|()| {
                match renameat_with(&self.dir, &staged, &self.dir, id, RenameFlags::NOREPLACE) {
                    Ok(()) => Ok(true),
                    Err(Errno::EXIST) => Ok(false),
                    Err(errno) => Err(errno.into()),
                }
            });
        if !matches!(made, Ok(true)) {
            remove_tree(&self.dir, &staged)?;
        }
        fsync(&self.dir)?;
        made
    }

    fn remove(&self, id: &str) -> Result<bool, FileError> {
        let staged = format!("{GOING}{}", random_hex::<8>()?);
        match renameat(&self.dir, id, &self.dir, &staged) {
            Err(Errno::NOENT) => return Ok(false),
            renamed => renamed?,
        }
        fsync(&self.dir)?;
        remove_tree(&self.dir, &staged)?;
        Ok(true)
    }

    fn sweep(&self, now: Timestamp) -> Result<usize, FileError> {
        let mut swept = 0;
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let age = |stat| now.as_second() - modified(&stat).as_second();
            let abandoned = name.starts_with(COMING)
                && beneath::look(&self.dir, name)?.is_some_and(|stat| age(stat) > ABANDONED_S);
            if name.starts_with(GOING) || abandoned {
                remove_tree(&self.dir, name)?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// Opens the root and looks at what was really opened.
fn open_root(given: &Path) -> Result<(PathBuf, OwnedFd), UnsafeRoot> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| UnsafeRoot::Io { path, source }
    };
    // also takes away a last slash, which would follow a link
    let root: PathBuf = std::path::absolute(given).map_err(io(given))?.components().collect();
    if !is_own(&root) {
        return Err(UnsafeRoot::NotOwn(root));
    }
    DirBuilder::new().recursive(true).mode(0o755).create(&root).or_else(|error| {
        // whatever is there is looked at below
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
    // better now than at the first file: a kernel before 5.6 has no openat2
    match beneath::open_dir(&dir, ".") {
        Err(FileError::Io(source)) => Err(UnsafeRoot::Io { path: root, source }),
        Ok(_) | Err(_) => Ok((root, dir)),
    }
}

/// Whether it is an absolute directory other than `/`, without detours.
fn is_own(path: &Path) -> bool {
    path.is_absolute()
        && path.components().any(|part| matches!(part, Component::Normal(_)))
        && path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir))
}
