//! The MongoDB server is killed, or answers no more, and comes back.

use anyhow::{Context, Result};
use tokio::task::block_in_place;

use super::{Field, Nemesis, Trouble};
use mgx_testkit::SeededRandom;

pub(super) fn begin(field: &mut Field, random: &mut SeededRandom) -> Result<Trouble> {
    let store = field.store.as_mut().context("there is no MongoDB server of this run's own")?;
    let (how, trouble) = if random.in_range(0..2) == 0 {
        store.kill()?;
        ("killed", Trouble::StoreAway)
    } else {
        store.suspend()?;
        ("hung", Trouble::StoreHung)
    };
    field.note(Nemesis::Store, how, false);
    Ok(trouble)
}

pub(super) fn end(field: &mut Field, trouble: Trouble) -> Result<()> {
    let store = field.store.as_mut().context("there is no MongoDB server of this run's own")?;
    let ended =
        if trouble == Trouble::StoreHung { store.resume() } else { block_in_place(|| store.restart()) };
    Ok(ended?)
}
