//! A directory for one run of a benchmark.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::output;

/// A private directory below the system's one for temporary files. Removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory of this process.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("mgx-bench-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            output::note(format_args!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
