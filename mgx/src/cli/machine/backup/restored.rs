//! What a backup is unpacked into: the data directory, which has no store until the whole backup has been read and checked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mgx_store::Snapshot;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, futimens, mkdirat, openat,
    symlinkat, syncfs,
};

use super::archive::Manifest;
use super::reader::{Entry, Kind, Place, Sink};
use super::tree::open_dir;
use crate::config::Config;
use crate::data_dir;

/// A platform that is being restored.
pub(super) struct Restored {
    data: PathBuf,
    /// Where the store will be.
    store: PathBuf,
    /// Where it is until then.
    partial: PathBuf,
    workspaces: PathBuf,
    root: OwnedFd,
    current: Option<File>,
    /// Directories that their owner may not write, until everything is in them.
    locked: Vec<(PathBuf, u32)>,
    is_root: bool,
    pub(super) files: u64,
}

impl Restored {
    /// Gets ready to unpack into the directories of the configuration.
    ///
    /// # Errors
    /// One of them is not empty, or cannot be made.
    pub(super) fn begin(config: &Config) -> io::Result<Self> {
        let (data, store) = (config.server.data_dir.clone(), config.store.path.clone());
        let workspaces = config.workspaces.root.clone();
        for dir in [&data, &workspaces] {
            if let Some(name) = data_dir::first_entry(dir)? {
                return Err(io::Error::other(format!(
                    "{} is not empty (it has {name}): a backup is restored into a directory that is new",
                    dir.display()
                )));
            }
        }
        if store.exists() {
            return Err(io::Error::other(format!("{} is there already", store.display())));
        }
        data_dir::make(&data)?;
        if let Some(parent) = store.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            data_dir::make(parent)?;
        }
        // as the server makes it
        fs::create_dir_all(&workspaces)?;
        let root = File::open(&workspaces)?.into();
        let partial = data_dir::partial_store(&store);
        let is_root = rustix::process::geteuid().is_root();
        Ok(Self {
            data,
            store,
            partial,
            workspaces,
            root,
            current: None,
            locked: Vec::new(),
            is_root,
            files: 0,
        })
    }

    /// Checks the store, and puts it into its place: from then on a server can use all of it.
    pub(super) fn complete(&self, manifest: &Manifest) -> io::Result<()> {
        let found = Snapshot::check(&self.partial).map_err(io::Error::other)?;
        if found != manifest.store {
            return Err(io::Error::other("the store in it is not the one that its beginning names"));
        }
        for suffix in ["-wal", "-shm"] {
            // what reading has left
            fs::remove_file(format!("{}{suffix}", self.partial.display())).ok();
        }
        for (path, mode) in self.locked.iter().rev() {
            fchmod(open_dir(&self.root, path)?, Mode::from_raw_mode(*mode))?;
        }
        for dir in [&self.data, &self.workspaces] {
            syncfs(File::open(dir)?)?;
        }
        fs::rename(&self.partial, &self.store)?;
        let parent = self.store.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Removes what was unpacked.
    pub(super) fn remove(self) {
        for path in [&self.partial, &self.store] {
            for suffix in ["", "-wal", "-shm"] {
                fs::remove_file(format!("{}{suffix}", path.display())).ok();
            }
        }
        for (path, _) in &self.locked {
            if let Ok(dir) = open_dir(&self.root, path) {
                fchmod(dir, Mode::from_raw_mode(0o700)).ok();
            }
        }
        fs::remove_dir_all(&self.workspaces).ok();
        for name in data_dir::KEYS {
            fs::remove_file(self.data.join(name)).ok();
        }
    }

    fn place(&mut self, path: &Path, entry: &Entry) -> io::Result<()> {
        let parent = open_dir(&self.root, path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().ok_or_else(|| io::Error::other("an entry without a name"))?;
        match &entry.kind {
            Kind::Directory => {
                mkdirat(&parent, name, Mode::RWXU)?;
                let dir = open_dir(&parent, Path::new(name))?;
                fchmod(dir, Mode::from_raw_mode(entry.mode | 0o700))?;
                if entry.mode & 0o700 != 0o700 {
                    self.locked.push((path.to_owned(), entry.mode));
                }
            }
            Kind::Link(target) => symlinkat(target.as_slice(), &parent, name)?,
            Kind::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                self.current = Some(openat(&parent, name, flags, Mode::RUSR | Mode::WUSR)?.into());
            }
        }
        if self.is_root {
            let (uid, gid) = entry.owner;
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}

impl Sink for Restored {
    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        match &entry.place {
            Place::Store => self.current = Some(private(&self.partial)?),
            Place::Key(name) if data_dir::KEYS.contains(&name.as_str()) => {
                self.current = Some(private(&self.data.join(name))?);
            }
            Place::Key(name) => {
                return Err(io::Error::other(format!(
                    "it has a key that this version does not know: {name}"
                )));
            }
            Place::Workspace(path) => self.place(path, entry)?,
        }
        self.files += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Some(file) => file.write_all(bytes),
            None => Err(io::Error::other("an entry that is no file has content")),
        }
    }

    fn end(&mut self, entry: &Entry) -> io::Result<()> {
        let Some(file) = self.current.take() else { return Ok(()) };
        if matches!(entry.place, Place::Workspace(_)) {
            fchmod(&file, Mode::from_raw_mode(entry.mode))?;
            let time = Timespec { tv_sec: entry.modified, tv_nsec: 0 };
            futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
        }
        Ok(())
    }
}

/// A new file for its owner alone.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
