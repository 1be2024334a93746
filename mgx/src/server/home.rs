//! Where a platform lives, so that a copy of its data directory is not taken for the platform itself.
//!
//! Containers carry the platform's name, which is in its store. Two servers with one name on one engine would take each
//! other's containers for their own, and end each other's jobs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use mgx_store::Embedded;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::data_dir::{self, HOME};

/// A data directory, as the server that used it last has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Home {
    /// The name of the platform.
    instance: String,
    /// The directory.
    path: PathBuf,
    /// Its device and its inode, which a copy does not share.
    device: u64,
    inode: u64,
}

impl Home {
    fn of(dir: &Path, instance: &str) -> anyhow::Result<Self> {
        let read = || format!("cannot look at {}", dir.display());
        let path = dir.canonicalize().with_context(read)?;
        let found = path.metadata().with_context(read)?;
        Ok(Self { instance: instance.to_owned(), path, device: found.dev(), inode: found.ino() })
    }

    fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(HOME)).ok()?).ok()
    }

    fn write(&self) -> anyhow::Result<()> {
        let path = || format!("cannot write {}", self.path.join(HOME).display());
        data_dir::replace(&self.path, HOME, self).with_context(path)
    }

    /// The directory that `self` is a copy of, if that is still there. A directory that was moved, or restored where the
    /// original is gone, is no copy.
    fn original(&self) -> Option<PathBuf> {
        let recorded = Self::read(&self.path)?;
        if recorded.path == self.path || (recorded.device, recorded.inode) == (self.device, self.inode) {
            return None;
        }
        let original = Self::of(&recorded.path, &recorded.instance).ok()?;
        let lives = original == recorded && Self::read(&recorded.path).as_ref() == Some(&recorded);
        lives.then_some(recorded.path)
    }
}

/// Makes sure that the data directory is no copy of one that is still there, and notes where it is.
///
/// # Errors
/// It is a copy, or the note cannot be written.
pub(crate) fn settle(dir: &Path, instance: &str) -> anyhow::Result<()> {
    let home = Home::of(dir, instance)?;
    if let Some(original) = home.original() {
        bail!(
            "{} is a copy of {}, and both would take the other's containers for their own: remove the original, or start \
             the copy as a platform of its own with `mgx up --new-instance`",
            home.path.display(),
            original.display()
        );
    }
    if Home::read(dir).as_ref() == Some(&home) { Ok(()) } else { home.write() }
}

/// Makes a copy a platform of its own, with a new name; a data directory that is no copy stays what it is. Returns whether
/// it was one.
///
/// # Errors
/// The store is in use, cannot be opened, or is shared by several processes.
pub(crate) async fn become_new_instance(config: &Config) -> anyhow::Result<bool> {
    let dir = &config.server.data_dir;
    if config.is_shared() {
        bail!(
            "--new-instance is for the embedded store: a copy of a MongoDB database needs a name of its own there"
        );
    }
    if !dir.exists() || Home::of(dir, "")?.original().is_none() {
        return Ok(false);
    }
    let path = config.store.path.clone();
    let store = tokio::task::spawn_blocking(move || Embedded::open(&path, Timestamp::now())).await??;
    let renewed = store.renew_instance().await;
    store.close().await;
    renewed.map_err(|why| anyhow::anyhow!("cannot give the copy a new name: {why}"))?;
    fs::remove_file(dir.join(HOME)).with_context(|| format!("cannot remove {}", dir.join(HOME).display()))?;
    Ok(true)
}
