//! A small disk of a test's own, which can be full and can hang: a file system in a file. Only root may have one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use tempfile::TempDir;

/// The smallest piece of a disk that is worth filling.
const BLOCK: u64 = 4096;

/// A disk. Dropping it takes it away, with all that is on it.
#[derive(Debug)]
pub struct Volume {
    dir: TempDir,
}

impl Volume {
    /// Whether this process may mount one, and has what it needs for it.
    #[must_use]
    pub fn is_possible() -> bool {
        let tools = ["/sbin/mkfs.ext4", "/sbin/fsfreeze", "/dev/loop-control"];
        rustix::process::geteuid().is_root() && tools.iter().all(|tool| Path::new(tool).exists())
    }

    /// One that holds so many MiB.
    ///
    /// # Errors
    /// It cannot be made or mounted.
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

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// Fills it to the last block.
    ///
    /// # Errors
    /// It cannot be filled.
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
    /// It cannot be freed.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    /// From now on every write hangs, and whoever writes cannot even be killed.
    ///
    /// # Errors
    /// It cannot be frozen.
    pub fn freeze(&self) -> Result<()> {
        run(&["/sbin/fsfreeze", "-f", text(&self.path())?])
    }

    /// Writes go on.
    ///
    /// # Errors
    /// It was not frozen.
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
    path.to_str().context("a path that is no text")
}

fn run(words: &[&str]) -> Result<()> {
    let output = Command::new(words[0]).args(&words[1..]).output().context(words[0].to_owned())?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
