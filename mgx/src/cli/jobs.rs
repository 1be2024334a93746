//! Commands about jobs: `mgx ps`, `mgx cancel`, `mgx explain` and `mgx timeline`.

pub(super) mod cancel;
pub(super) mod explain;
pub(super) mod ps;
pub(super) mod timeline;
