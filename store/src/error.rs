//! Why an open store did not do what a caller asked, and what the traits' own errors make of it.

use mgx_apps::StoreError;
use mgx_oauth2::StorageError;
use mgx_scheduler::JournalError;

/// Why an open store did not do what a caller asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The disk is full. Nothing was written; the store works again when there is space.
    Full,
    /// The store does not work at the moment. Nothing was written.
    Unavailable(String),
    /// The store must not be used any more, and the process has to start again. After a failed fsync it is unknown what
    /// is on the disk, and the next fsync would report success all the same (Rebello et al., "Can Applications Recover
    /// from fsync Failures?", USENIX ATC 2020).
    Broken(String),
}

impl Failure {
    /// The store is closed, or its writer has ended.
    pub(crate) fn closed() -> Self {
        Self::Unavailable("the store is closed".to_owned())
    }
}

/// The one mapping from a failure of the store to the errors of the traits that it implements.
macro_rules! error_of_trait {
    ($error:ty) => {
        impl From<Failure> for $error {
            fn from(failure: Failure) -> Self {
                match failure {
                    Failure::Full => Self::Full,
                    Failure::Unavailable(reason) | Failure::Broken(reason) => Self::Unavailable(reason),
                }
            }
        }
    };
}

error_of_trait!(JournalError);
error_of_trait!(StoreError);
error_of_trait!(StorageError);
