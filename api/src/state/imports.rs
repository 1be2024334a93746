//! The import of sessions, one at a time.

use std::sync::Arc;

use mgx_apps::Archive;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// Imports sessions, one at a time.
#[derive(Clone, Debug)]
pub struct Imports {
    archive: Arc<dyn Archive>,
    permit: Arc<Semaphore>,
}

impl Imports {
    /// Imports into `archive`.
    pub fn new(archive: Arc<dyn Archive>) -> Self {
        Self { archive, permit: Arc::new(Semaphore::new(1)) }
    }

    /// The store that the sessions go to.
    pub(crate) fn archive(&self) -> &dyn Archive {
        &*self.archive
    }

    /// The permit to import a session.
    ///
    /// # Errors
    /// Another session is being imported.
    pub(crate) fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.permit.try_acquire()
    }
}
