//! A small disk that belongs to one test, which can fill and freeze it: a file system in a file. Needs root.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use tempfile::TempDir;

/// The size of a block, in bytes: smaller remainders are left free.
const BLOCK: u64 = 4096;

/// A mounted disk. Dropping it unmounts and deletes it.
#[derive(Debug)]
pub struct Volume {
    dir: TempDir,
}

impl Volume {
    /// Whether this process may mount a disk, and the tools for it are installed.
    #[must_use]
    pub fn is_possible() -> bool {
        let tools = ["/sbin/mkfs.ext4", "/sbin/fsfreeze", "/dev/loop-control"];
        rustix::process::geteuid().is_root() && tools.iter().all(|tool| Path::new(tool).exists())
    }

    /// Makes and mounts a disk of so many MiB.
    ///
    /// # Errors
    /// The disk cannot be made or mounted.
    pub fn new(mib: u64) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("mgx-disk-").tempdir()?;
        let image = dir.path().join("image");
        File::create(&image)?.set_len(mib << 20)?;
        std::fs::create_dir(dir.path().join("mounted"))?;
        let volume = Self { dir };
        let (image, path) = (text(&image)?, volume.path());
        run(&["/sbin/mkfs.ext4", "-q", "-F", "-m", "0", image])?;
        run(&["mount", "-o", "loop", image, text(&path)?])?;
        Ok(volume)
    }

    /// The mount point.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// Fills the disk to the last block.
    ///
    /// # Errors
    /// The disk cannot be filled.
    pub fn fill(&self) -> Result<()> {
        let ballast = File::options().create(true).append(true).open(self.ballast())?;
        let mut piece = statvfs(self.path())?.f_bavail * BLOCK;
        while piece >= BLOCK {
            match fallocate(&ballast, FallocateFlags::empty(), ballast.metadata()?.len(), piece) {
                Ok(()) => {}
                Err(Errno::NOSPC) => piece /= 2,
                Err(error) => return Err(error).context("cannot fill the disk"),
            }
        }
        Ok(())
    }

    /// Frees what [`fill`](Self::fill) has taken.
    ///
    /// # Errors
    /// The space cannot be freed.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    /// Freezes the file system: every write hangs, and a process that writes cannot even be killed.
    ///
    /// # Errors
    /// The file system cannot be frozen.
    pub fn freeze(&self) -> Result<()> {
        run(&["/sbin/fsfreeze", "-f", text(&self.path())?])
    }

    /// Lets writes go on.
    ///
    /// # Errors
    /// The file system was not frozen.
    pub fn thaw(&self) -> Result<()> {
        run(&["/sbin/fsfreeze", "-u", text(&self.path())?])
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(self.thaw());
        if let Ok(path) = text(&self.path()) {
            drop(run(&["umount", "-l", path]));
        }
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

fn run(words: &[&str]) -> Result<()> {
    let output = Command::new(words[0]).args(&words[1..]).output().context(words[0].to_owned())?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
