//! Why a store did not do what a caller asked.

/// Why a store did not do what a caller asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The id is taken.
    #[error("a session of this id exists already")]
    Conflict,
    /// The disk is full. The operator can free space.
    #[error("the store is full")]
    Full,
    /// The store does not answer. It may come back.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}
