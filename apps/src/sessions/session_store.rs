//! The storage of sessions, as [`crate::Sessions`] needs it.

use std::fmt;

use async_trait::async_trait;
use mgx_protocol::SessionId;

use crate::sessions::session::{Session, Usage};
use crate::store_error::StoreError;

/// Durable sessions. A write that has returned is durable.
#[async_trait]
pub trait SessionStore: Send + Sync + fmt::Debug {
    /// Stores a new session.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the id is taken.
    async fn insert(&self, session: &Session) -> Result<(), StoreError>;

    /// One session.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// The sessions of a user (of all users, if `None`), newest first, older than `before`, at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn sessions(
        &self,
        user: Option<&str>,
        before: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError>;

    /// Deletes a session, its jobs and its events. Whether it was there.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn delete(&self, id: &SessionId) -> Result<bool, StoreError>;

    /// Adds to what a session has used, and returns the sum.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn add_usage(&self, id: &SessionId, used: Usage) -> Result<Usage, StoreError>;
}
