//! Sets the wall clock by minutes or by an hour, forwards or back, for good.

use anyhow::{Context, Result};

use super::{Fault, Nemesis, Target};
use mgx_testkit::SeededRandom;

/// What the clock may be off by, in seconds.
const OFFSETS: [i64; 5] = [-3600, -600, 0, 600, 3600];

pub(super) fn set(target: &Target, random: &mut SeededRandom) -> Result<Fault> {
    let pick = usize::try_from(random.in_range(0..OFFSETS.len() as u64)).unwrap_or_default();
    let clock = target.clock.as_ref().context("there is no clock of this run's own")?;
    clock.set(OFFSETS[pick])?;
    target.note(Nemesis::Clock, format!("{:+} s", OFFSETS[pick]), false);
    Ok(Fault::Ended)
}
