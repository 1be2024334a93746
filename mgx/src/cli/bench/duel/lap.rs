//! One job of a duel: when each of its stages began.

use std::time::{Duration, Instant};

use super::witness::Note;
use crate::cli::bench::ms;
use crate::cli::bench::trial::Seen;

/// The stages of a start, in order; each lasts until the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was asked for.
    Queued,
    /// It has its turn.
    Admitted,
    /// Its container is being made, or taken from the pool.
    Create,
    /// Its runner is ready; that it runs is being written down.
    Ready,
    /// Its invocation was handed over.
    Invoke,
    /// Its agents have begun to speak.
    FirstEvent,
    /// Its stream has ended; the container is being removed, if it is not gone yet.
    Finish,
    /// Nothing of it is left in the engine.
    Removed,
}

impl Stage {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::Queued,
        Self::Admitted,
        Self::Create,
        Self::Ready,
        Self::Invoke,
        Self::FirstEvent,
        Self::Finish,
        Self::Removed,
    ];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Admitted => "admitted",
            Self::Create => "create",
            Self::Ready => "ready",
            Self::Invoke => "invoke",
            Self::FirstEvent => "first_event",
            Self::Finish => "finish",
            Self::Removed => "removed",
        }
    }
}

/// What became of one job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lap {
    /// Milliseconds from the request to the first event of an agent; to the end, if no agent said anything.
    pub(super) tti_ms: f64,
    /// Milliseconds from the request to the beginning of each stage.
    pub(super) at_ms: [f64; Stage::ALL.len()],
    /// Whether its container had waited in a pool.
    pub(super) is_hit: bool,
}

impl Lap {
    /// What the user and the runtime saw.
    pub(super) fn of(seen: &Seen, note: &Note) -> Self {
        let after = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(seen.began));
        let first = after(seen.first.or(Some(seen.finish)));
        let stages = [
            Some(Duration::ZERO),
            after(seen.admitted),
            after(note.create),
            after(note.ready),
            after(note.invoke),
            first,
            after(Some(seen.finish)),
            after(note.removed),
        ];
        // A stage that nobody saw has no length. The user hears of the first event and of the end a little later than
        // the platform, and no stage begins before the one that it follows.
        let mut latest = Duration::ZERO;
        let at_ms = stages.map(|at| {
            latest = latest.max(at.unwrap_or_default());
            ms(latest)
        });
        Self { tti_ms: ms(first.unwrap_or_default()), at_ms, is_hit: note.is_hit }
    }
}
