//! The reports of the warm pools.

use std::fmt;
use std::sync::Arc;

use mgx_runtimes::pool::report::Report;

/// Asks the warm pools for their reports. Cheap to clone.
#[derive(Clone)]
pub struct Pools(Arc<dyn Fn() -> Vec<Report> + Send + Sync>);

impl Pools {
    /// Will ask `report`.
    pub fn of(report: impl Fn() -> Vec<Report> + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// No pools: every job starts cold.
    pub fn none() -> Self {
        Self::of(Vec::new)
    }

    /// The report of each pool.
    pub(crate) fn report(&self) -> Vec<Report> {
        (self.0)()
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}
