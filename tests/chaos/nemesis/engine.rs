//! Kills, stops or suspends the container engine. With live-restore its containers survive all of that; without, they end
//! with the engine, or when it is started again.

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::task::block_in_place;

use super::{Fault, Nemesis, Target};
use mgx_testkit::SeededRandom;

pub(super) fn begin(target: &mut Target, random: &mut SeededRandom) -> Result<Fault> {
    let engine = target.engine.as_mut().context("there is no engine of this run's own")?;
    let ends_runs = !engine.has_live_restore();
    let (how, ends_runs, fault) = match random.in_range(0..3) {
        0 => {
            engine.kill()?;
            ("killed", ends_runs, Fault::EngineDown)
        }
        1 => {
            block_in_place(|| engine.terminate())?;
            ("stopped", ends_runs, Fault::EngineDown)
        }
        _ => {
            engine.signal(Signal::STOP)?;
            ("hung", false, Fault::EngineSuspended)
        }
    };
    target.note(Nemesis::Engine, how, ends_runs);
    Ok(fault)
}

pub(super) fn end(target: &mut Target, fault: Fault) -> Result<()> {
    let engine = target.engine.as_mut().context("there is no engine of this run's own")?;
    if fault == Fault::EngineSuspended { engine.signal(Signal::CONT) } else { block_in_place(|| engine.up()) }
}
