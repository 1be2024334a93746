//! Where sessions that were exported elsewhere are taken in, one at a time.

use std::sync::Arc;

use mgx_apps::Archive;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// Takes in sessions, one at a time.
#[derive(Clone, Debug)]
pub struct Imports {
    archive: Arc<dyn Archive>,
    permit: Arc<Semaphore>,
}

impl Imports {
    /// Takes them into `archive`.
    pub fn new(archive: Arc<dyn Archive>) -> Self {
        Self { archive, permit: Arc::new(Semaphore::new(1)) }
    }

    /// Where the sessions go.
    pub(crate) fn archive(&self) -> &dyn Archive {
        &*self.archive
    }

    /// The permit to take in a session, until it is dropped.
    ///
    /// # Errors
    /// Another session is being taken in.
    pub(crate) fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.permit.try_acquire()
    }
}
