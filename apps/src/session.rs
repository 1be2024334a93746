//! A session: one chat, one app, one workspace.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_protocol::{SessionId, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::file::FileError;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its name, for people.
    pub name: String,
    /// What its app is built with.
    pub framework: Framework,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Whose it is.
    pub user: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What its agents have used of the model so far.
    pub usage: Usage,
}

/// What an app is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framework {
    /// Next.js, one container.
    Nextjs,
    /// FastAPI, and a React single-page app made with Vite.
    FastapiVite,
}

impl Framework {
    /// Every framework.
    pub const ALL: [Self; 2] = [Self::Nextjs, Self::FastapiVite];

    /// Its name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nextjs => "nextjs",
            Self::FastapiVite => "fastapi-vite",
        }
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Framework {
    type Err = UnknownFramework;
    fn from_str(text: &str) -> Result<Self, UnknownFramework> {
        Self::ALL.into_iter().find(|framework| framework.name() == text).ok_or(UnknownFramework)
    }
}

/// Not a framework we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a framework is nextjs or fastapi-vite")]
pub struct UnknownFramework;

/// What has been used of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Requests that reached a model.
    pub requests: u64,
    /// Tokens sent to it.
    pub prompt_tokens: u64,
    /// Tokens it answered with.
    pub completion_tokens: u64,
    /// What they cost, in millionths of the unit that the operator writes prices in.
    pub cost_micros: u64,
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

    /// The sessions of a user (of everybody, if `None`), newest first, older than `before`, at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn sessions(
        &self,
        user: Option<&str>,
        before: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError>;

    /// Forgets a session, its jobs and its events. Whether it was there.
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

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The id is taken.
    #[error("a session of this id exists already")]
    Conflict,
    /// The disk is full; it may be freed.
    #[error("the store is full")]
    Full,
    /// The store does not answer; it may come back.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

/// Why something could not be done with a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no such session.
    #[error("no such session")]
    NotFound,
    /// The id is taken.
    #[error("a session of this id exists already")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// The workspace could not be made or removed.
    #[error("cannot prepare the workspace: {0}")]
    Workspace(FileError),
}
