//! The storage of sessions, as [`crate::Sessions`] needs it.

use std::fmt;

use async_trait::async_trait;
use mgx_protocol::SessionId;
use mgx_scheduler::Event;

use crate::sessions::session::{Session, Usage};
use crate::store_error::StoreError;

/// Which messages of a session to read, by the numbers of their events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagePage {
    /// Only after this number.
    pub after: u64,
    /// Only before this number.
    pub before: u64,
    /// Whether the newest come first.
    pub is_newest_first: bool,
    /// At most so many; fewer if they are large: only an empty page is the end.
    pub limit: usize,
}

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

    /// The messages of a session as their events (`message_complete`), which stay when other events are removed: those
    /// that `page` names.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn messages(&self, id: &SessionId, page: MessagePage) -> Result<Vec<Event>, StoreError>;

    /// Deletes a session, its jobs, its events and its messages. Whether it was there.
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
