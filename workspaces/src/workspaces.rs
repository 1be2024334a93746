//! All workspaces: the directories below one root, created and removed as a whole.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use mgx_protocol::WorkspaceId;
use rustix::fs::{Dir, Gid, RenameFlags, Uid, fsync, renameat, renameat_with};
use rustix::io::Errno;

use crate::blocking::blocking;
use crate::confinement::beneath;
use crate::confinement::removal::remove_tree;
use crate::confinement::root::{UnsafeRoot, is_absolute_directory, open_root};
use crate::error::FileError;
use crate::files::entry::modified;
use crate::files::starter::{self, StarterFiles};
use crate::random::random_hex;
use crate::shared::{Shared, WorkspaceDir};
use crate::workspace::Workspace;

/// The user and group id of the containers' processes.
const CONTAINER_ID: u32 = 10001;

/// Bytes that one file may have, unless [`WorkspacesConfig::max_file_bytes`] says otherwise.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// Prefixes of workspaces that are being created or removed. No workspace id begins with a dot.
const CREATING: &str = ".new-";
const REMOVING: &str = ".old-";

/// Seconds after which a workspace that is still being created is taken for the rest of a crash.
const ABANDONED_S: i64 = 3600;

/// The workspaces. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workspaces {
    pub(crate) shared: Arc<Shared>,
}

/// How to open [`Workspaces`].
#[derive(Clone, Debug)]
pub struct WorkspacesConfig {
    /// `WORKSPACES_ROOT`: the directory of the workspaces for this process; created if it is missing.
    pub root: PathBuf,
    /// `HOST_WORKSPACES_ROOT`: the same directory for the container engine, if it has another path there.
    pub host_root: Option<PathBuf>,
    /// The user and group of new files: those of the containers. Only root can change the owner of a file; files that
    /// another user's process writes keep that user.
    pub owner: (u32, u32),
    /// Bytes that one file may have.
    pub max_file_bytes: u64,
}

impl WorkspacesConfig {
    /// The default owner and limit.
    pub fn new(root: PathBuf, host_root: Option<PathBuf>) -> Self {
        Self { root, host_root, owner: (CONTAINER_ID, CONTAINER_ID), max_file_bytes: MAX_FILE_BYTES }
    }
}

impl Workspaces {
    /// [`Workspaces::with_config`] with the default owner and limit.
    ///
    /// # Errors
    /// [`UnsafeRoot`] if another user of the host could replace the workspaces.
    pub fn open(root: PathBuf, host_root: Option<PathBuf>) -> Result<Self, UnsafeRoot> {
        Self::with_config(WorkspacesConfig::new(root, host_root))
    }

    /// Opens the root. Blocking: meant for the start of the program.
    ///
    /// # Errors
    /// [`UnsafeRoot`] if another user of the host could replace the workspaces.
    pub fn with_config(config: WorkspacesConfig) -> Result<Self, UnsafeRoot> {
        let (root, dir) = open_root(&config.root)?;
        let host_root = match config.host_root {
            Some(host) if is_absolute_directory(&host) => host,
            Some(host) => return Err(UnsafeRoot::NotOwn(host)),
            None => root.clone(),
        };
        let (uid, gid) = config.owner;
        let owner = rustix::process::geteuid().is_root().then(|| (Uid::from_raw(uid), Gid::from_raw(gid)));
        let locks = std::array::from_fn(|_| Mutex::new(()));
        let max_file_bytes = config.max_file_bytes;
        Ok(Self { shared: Arc::new(Shared { dir, root, host_root, owner, max_file_bytes, locks }) })
    }

    /// Creates a workspace with `starter` files, completely or not at all. `false`: the workspace was there already,
    /// and stays as it is.
    ///
    /// # Errors
    /// [`FileError::Full`] or [`FileError::Io`].
    pub async fn create(&self, id: &WorkspaceId, starter: &'static StarterFiles) -> Result<bool, FileError> {
        let (shared, id) = (self.shared.clone(), id.clone());
        blocking(move || create(&shared, id.as_str(), starter)).await
    }

    /// Opens a workspace.
    ///
    /// # Errors
    /// [`FileError::NotFound`] if there is none, or [`FileError::Io`].
    pub async fn workspace(&self, id: &WorkspaceId) -> Result<Workspace, FileError> {
        let (shared, name) = (self.shared.clone(), id.clone());
        let dir = match beneath::open_cached_child(&shared.dir, name.as_str()) {
            Some(dir) => dir,
            None => blocking(move || beneath::open_child(&shared.dir, name.as_str())).await?,
        };
        Ok(Workspace(WorkspaceDir::new(id, dir, self.shared.clone())))
    }

    /// Removes a workspace with all its files. Whether there was one.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub async fn remove(&self, id: &WorkspaceId) -> Result<bool, FileError> {
        let (shared, id) = (self.shared.clone(), id.clone());
        blocking(move || remove(&shared, id.as_str())).await
    }

    /// Removes workspaces that a crash left half created or half removed, and returns how many.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub async fn sweep(&self) -> Result<usize, FileError> {
        let shared = self.shared.clone();
        blocking(move || sweep(&shared, Timestamp::now())).await
    }

    /// The path of a workspace for the container engine.
    pub fn host_path(&self, id: &WorkspaceId) -> PathBuf {
        self.shared.host_root.join(id.as_str())
    }

    /// The absolute path of the workspaces for this process.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }
}

fn create(shared: &Shared, id: &str, starter: &StarterFiles) -> Result<bool, FileError> {
    if beneath::status(&shared.dir, id)?.is_some() {
        return Ok(false);
    }
    let temporary = format!("{CREATING}{}", random_hex::<8>()?);
    let created = starter::create(&shared.dir, &temporary, starter, shared.owner).and_then(|()| {
        match renameat_with(&shared.dir, &temporary, &shared.dir, id, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    });
    if !matches!(created, Ok(true)) {
        remove_tree(&shared.dir, &temporary)?;
    }
    fsync(&shared.dir)?;
    created
}

fn remove(shared: &Shared, id: &str) -> Result<bool, FileError> {
    let temporary = format!("{REMOVING}{}", random_hex::<8>()?);
    match renameat(&shared.dir, id, &shared.dir, &temporary) {
        Err(Errno::NOENT) => return Ok(false),
        renamed => renamed?,
    }
    fsync(&shared.dir)?;
    remove_tree(&shared.dir, &temporary)?;
    Ok(true)
}

fn sweep(shared: &Shared, now: Timestamp) -> Result<usize, FileError> {
    let mut removed = 0;
    for entry in Dir::read_from(&shared.dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let age = |stat| now.as_second() - modified(&stat).as_second();
        let abandoned = name.starts_with(CREATING)
            && beneath::status(&shared.dir, name)?.is_some_and(|stat| age(stat) > ABANDONED_S);
        if name.starts_with(REMOVING) || abandoned {
            remove_tree(&shared.dir, name)?;
            removed += 1;
        }
    }
    Ok(removed)
}
