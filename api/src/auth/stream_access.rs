//! Whether the caller of a stream may still read it: a stream outlives the check at its beginning.

use std::time::Duration;

use super::caller::Caller;
use super::credential::Credential;
use super::gate::Gate;

/// How often a stream checks its credential again.
pub(crate) const RECHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The credential that a stream was opened with, and the caller that it stood for.
#[derive(Debug)]
pub(crate) struct StreamAccess {
    pub(crate) gate: Gate,
    pub(crate) credential: Credential,
    pub(crate) caller: Caller,
}

impl StreamAccess {
    /// Whether the credential still stands for the same caller with the same rights. While the store does not answer,
    /// the stream goes on.
    pub(crate) async fn is_valid(&self) -> bool {
        let caller = self.gate.caller_of(&self.credential).await;
        caller.map_or(true, |caller| caller.as_ref() == Some(&self.caller))
    }
}
