//! The disk of the store is full, and free again after a while.

use anyhow::{Context, Result};

use super::{Field, Nemesis, Trouble};

pub(super) fn begin(field: &Field) -> Result<Trouble> {
    field.disk.as_ref().context("there is no disk of this run's own")?.fill()?;
    field.note(Nemesis::Disk, "full", false);
    Ok(Trouble::Full)
}

pub(super) fn end(field: &Field) -> Result<()> {
    field.disk.as_ref().context("there is no disk of this run's own")?.free()
}
