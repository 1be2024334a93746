//! Why a transaction was aborted before its commit.

use std::time::Duration;

use mongodb::error::Error;

use crate::error::Failure;
use crate::mongodb::error::is_transient;

/// How long the statements of a transaction may take, without its commit.
pub(crate) const STATEMENTS_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a transaction was aborted before its commit.
pub(crate) enum Abort {
    /// An error of the server, or a conflict with another transaction.
    Server(Error),
    /// A stored document cannot be read, or a document cannot be written.
    Unreadable(Failure),
    /// Another process holds the lease.
    LeaseLost,
    /// The statements took too long.
    Timeout,
    /// The commit did not take effect.
    NotCommitted,
}

impl Abort {
    /// Whether the same transaction may succeed if it is tried again.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Server(error) => is_transient(error),
            Self::NotCommitted => true,
            Self::Unreadable(_) | Self::LeaseLost | Self::Timeout => false,
        }
    }
}

impl From<Error> for Abort {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl From<Failure> for Abort {
    fn from(failure: Failure) -> Self {
        Self::Unreadable(failure)
    }
}
