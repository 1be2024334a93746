//! What the team reports to the runner: its events, and what a model is writing.

pub(crate) mod deltas;
pub(crate) mod reporter;
