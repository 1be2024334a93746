//! Nothing fails, and nothing goes on: the server stands still, as a process does on a machine that swaps, or the
//! file system of its store is frozen, so that every write hangs.

use anyhow::Result;
use rustix::process::Signal;

use super::{Field, Nemesis, Trouble};
use mgx_testkit::SeededRandom;

pub(super) fn begin(field: &Field, random: &mut SeededRandom) -> Result<Trouble> {
    let (how, trouble) = match &field.disk {
        Some(disk) if random.in_range(0..2) == 0 => {
            disk.freeze()?;
            ("the store's disk", Trouble::Frozen)
        }
        Some(_) | None => {
            field.server.signal(Signal::STOP)?;
            ("the server", Trouble::Stopped)
        }
    };
    field.note(Nemesis::Stall, how, false);
    Ok(trouble)
}

pub(super) fn end(field: &Field, trouble: Trouble) -> Result<()> {
    match &field.disk {
        Some(disk) if trouble == Trouble::Frozen => disk.thaw(),
        // a server that was killed meanwhile needs no waking
        Some(_) | None if field.server.pid().is_some() => field.server.signal(Signal::CONT),
        Some(_) | None => Ok(()),
    }
}
