//! Commands that look at this machine and need no server: `mgx doctor`, `mgx config`, `mgx images` and `mgx store`.

pub(super) mod config;
pub(super) mod doctor;
pub(super) mod images;
pub(super) mod store;
