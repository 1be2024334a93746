//! The kinds of faults that a run injects.

use serde::{Deserialize, Serialize};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Nemesis {
    /// Kills the server, and kills it again while it starts.
    Kill,
    /// Kills, stops or holds up the container engine: one that only this run uses.
    Engine,
    /// Holds up the server, or the disk of its store.
    Stall,
    /// Fills the disk of the store.
    Disk,
    /// Sets the wall clock, while the server runs or before it is started again.
    Clock,
    /// Submits far more than the queue holds, all at once.
    Flood,
    /// Kills or holds up the MongoDB server.
    Store,
}

impl Nemesis {
    /// Every kind.
    pub(crate) const ALL: [Self; 7] =
        [Self::Kill, Self::Engine, Self::Stall, Self::Disk, Self::Clock, Self::Flood, Self::Store];
}
