//! Commands that look at this machine and need no server: `mgx doctor`, `mgx config`, `mgx images`, `mgx store`,
//! `mgx backup` and `mgx restore`.

pub(super) mod backup;
pub(super) mod config;
pub(super) mod doctor;
pub(super) mod images;
pub(super) mod store;
