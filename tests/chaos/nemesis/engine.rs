//! The container engine is killed, stopped, or answers no more. With live-restore its containers outlive all of it;
//! without, they end with the engine, or when it comes back.

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::task::block_in_place;

use super::{Field, Nemesis, Trouble};
use mgx_testkit::SeededRandom;

pub(super) fn begin(field: &mut Field, random: &mut SeededRandom) -> Result<Trouble> {
    let engine = field.engine.as_mut().context("there is no engine of this run's own")?;
    let ends_runs = !engine.has_live_restore();
    let (how, ends_runs, trouble) = match random.in_range(0..3) {
        0 => {
            engine.kill()?;
            ("killed", ends_runs, Trouble::Away)
        }
        1 => {
            block_in_place(|| engine.terminate())?;
            ("stopped", ends_runs, Trouble::Away)
        }
        _ => {
            engine.signal(Signal::STOP)?;
            ("hung", false, Trouble::Hung)
        }
    };
    field.note(Nemesis::Engine, how, ends_runs);
    Ok(trouble)
}

pub(super) fn end(field: &mut Field, trouble: Trouble) -> Result<()> {
    let engine = field.engine.as_mut().context("there is no engine of this run's own")?;
    if trouble == Trouble::Hung { engine.signal(Signal::CONT) } else { block_in_place(|| engine.up()) }
}
