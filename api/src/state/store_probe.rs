//! Whether the store takes writes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use mgx_scheduler::JournalError;

/// The answer of a store.
type Answer = Pin<Box<dyn Future<Output = Result<(), JournalError>> + Send>>;

/// Asks the store whether it takes writes. Cheap to clone.
#[derive(Clone)]
pub struct StoreProbe(Arc<dyn Fn() -> Answer + Send + Sync>);

impl StoreProbe {
    /// Will ask `check`, which is called for each request for the server's readiness.
    pub fn of<F, A>(check: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), JournalError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(check())))
    }

    /// Why the store takes no writes.
    pub(crate) async fn ask(&self) -> Result<(), JournalError> {
        (self.0)().await
    }
}

impl fmt::Debug for StoreProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreProbe").finish_non_exhaustive()
    }
}
