//! Fills the disk of the store, and frees it after a while.

use anyhow::{Context, Result};

use super::{Fault, Nemesis, Target};

pub(super) fn begin(target: &Target) -> Result<Fault> {
    target.disk.as_ref().context("there is no disk of this run's own")?.fill()?;
    target.note(Nemesis::Disk, "full", false);
    Ok(Fault::DiskFull)
}

pub(super) fn end(target: &Target) -> Result<()> {
    target.disk.as_ref().context("there is no disk of this run's own")?.free()
}
