//! Suspends the server, as if its machine were swapping, or freezes the file system of its store, so that every write hangs.

use anyhow::Result;
use rustix::process::Signal;

use super::{Fault, Nemesis, Target};
use mgx_testkit::SeededRandom;

pub(super) fn begin(target: &Target, random: &mut SeededRandom) -> Result<Fault> {
    let (how, fault) = match &target.disk {
        Some(disk) if random.in_range(0..2) == 0 => {
            disk.freeze()?;
            ("the store's disk", Fault::DiskFrozen)
        }
        Some(_) | None => {
            target.server.signal(Signal::STOP)?;
            ("the server", Fault::ServerSuspended)
        }
    };
    target.note(Nemesis::Stall, how, false);
    Ok(fault)
}

pub(super) fn end(target: &Target, fault: Fault) -> Result<()> {
    match &target.disk {
        Some(disk) if fault == Fault::DiskFrozen => disk.thaw(),
        // a server that was killed meanwhile needs no SIGCONT
        Some(_) | None if target.server.pid().is_some() => target.server.signal(Signal::CONT),
        Some(_) | None => Ok(()),
    }
}
