//! Kills or suspends the MongoDB server, and brings it back.

use anyhow::{Context, Result};
use tokio::task::block_in_place;

use super::{Fault, Nemesis, Target};
use mgx_testkit::SeededRandom;

pub(super) fn begin(target: &mut Target, random: &mut SeededRandom) -> Result<Fault> {
    let store = target.store.as_mut().context("there is no MongoDB server of this run's own")?;
    let (how, fault) = if random.in_range(0..2) == 0 {
        store.kill()?;
        ("killed", Fault::StoreDown)
    } else {
        store.suspend()?;
        ("hung", Fault::StoreSuspended)
    };
    target.note(Nemesis::Store, how, false);
    Ok(fault)
}

pub(super) fn end(target: &mut Target, fault: Fault) -> Result<()> {
    let store = target.store.as_mut().context("there is no MongoDB server of this run's own")?;
    let ended =
        if fault == Fault::StoreSuspended { store.resume() } else { block_in_place(|| store.restart()) };
    Ok(ended?)
}
