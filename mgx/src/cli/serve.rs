//! Commands that start and stop a server: `mgx up` and `mgx down`.

mod background;
pub(super) mod down;
mod first_model;
pub(super) mod up;
