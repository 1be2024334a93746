//! How the warm pools are, as the assembly lets the routes ask.

use std::fmt;
use std::sync::Arc;

use mgx_runtimes::pool::report::Report;

/// Asks the pools how they are. Cheap to clone.
#[derive(Clone)]
pub struct Pools(Arc<dyn Fn() -> Vec<Report> + Send + Sync>);

impl Pools {
    /// Will ask `report`.
    pub fn of(report: impl Fn() -> Vec<Report> + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// There are none: every job starts cold.
    pub fn none() -> Self {
        Self::of(Vec::new)
    }

    /// How each pool is now.
    pub(crate) fn report(&self) -> Vec<Report> {
        (self.0)()
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}
