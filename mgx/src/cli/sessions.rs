//! Commands about sessions: `mgx run`, `mgx events`, `mgx export` and `mgx import`.

pub(super) mod events;
pub(super) mod export;
pub(super) mod run;
mod screen;
mod transcript;
