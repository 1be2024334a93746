//! Commands that start and stop a server: `mgx up` and `mgx down`.

mod background;
pub(super) mod down;
pub(super) mod up;
