//! Commands about sessions: `mgx run`, `mgx continue`, `mgx messages`, `mgx events`, `mgx export` and `mgx import`.

pub(super) mod events;
pub(super) mod export;
pub(super) mod messages;
pub(super) mod run;
mod screen;
mod transcript;
