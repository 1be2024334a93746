//! Somebody sets the wall clock, by minutes or by an hour, forwards or back. It stays as it was set.

use anyhow::{Context, Result};

use super::{Field, Nemesis, Trouble};
use mgx_testkit::SeededRandom;

/// What the clock may be off by, in seconds.
const OFFSETS: [i64; 5] = [-3600, -600, 0, 600, 3600];

pub(super) fn set(field: &Field, random: &mut SeededRandom) -> Result<Trouble> {
    let pick = usize::try_from(random.in_range(0..OFFSETS.len() as u64)).unwrap_or_default();
    let clock = field.clock.as_ref().context("there is no clock of this run's own")?;
    clock.set(OFFSETS[pick])?;
    field.note(Nemesis::Clock, format!("{:+} s", OFFSETS[pick]), false);
    Ok(Trouble::Over)
}
