//! Sessions and their workspaces, made and removed together.

use std::sync::Arc;

use mgx_agent_runner::{SessionId, WorkspaceId};

use crate::session::{Framework, Session, SessionError, SessionStore, Usage};
use crate::workspaces::Workspaces;

/// The sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    workspaces: Workspaces,
}

/// A request for a session.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id; a short random one if absent.
    pub id: Option<SessionId>,
    /// Its name, for people.
    pub name: String,
    /// What its app is to be built with.
    pub framework: Framework,
    /// Whose it is to be.
    pub user: String,
    /// Its workspace; one of the session's own name if absent.
    pub workspace: Option<WorkspaceId>,
}

/// A session that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Whether it was not there before.
    pub created: bool,
}

impl Sessions {
    /// The sessions in `store`, with their files in `workspaces`.
    pub fn new(store: Arc<dyn SessionStore>, workspaces: Workspaces) -> Self {
        Self { store, workspaces }
    }

    /// Makes a session and its workspace, or finds the one that an earlier, equal request made.
    ///
    /// # Errors
    /// [`SessionError::Conflict`] if the session or the workspace belongs to another user, session or framework.
    pub async fn create(&self, _new: NewSession) -> Result<Opened, SessionError> {
        unimplemented!()
    }

    /// One session, if it is there and `user` may see it (`None` sees everything).
    ///
    /// # Errors
    /// [`SessionError::NotFound`], also for the session of somebody else.
    pub async fn get(&self, _id: &SessionId, _user: Option<&str>) -> Result<Session, SessionError> {
        unimplemented!()
    }

    /// The sessions of `user` (of everybody, if `None`), newest first, older than `before`, at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(
        &self,
        user: Option<&str>,
        before: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, SessionError> {
        self.store.sessions(user, before, limit).await.map_err(SessionError::Store)
    }

    /// Forgets a session, and removes its workspace. End its jobs first.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], also for the session of somebody else. After any other error: do it again.
    pub async fn delete(&self, _id: &SessionId, _user: Option<&str>) -> Result<(), SessionError> {
        unimplemented!()
    }

    /// Adds to what a session has used of the model, and returns the sum.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn add_usage(&self, id: &SessionId, used: Usage) -> Result<Usage, SessionError> {
        self.store.add_usage(id, used).await.map_err(SessionError::Store)
    }

    /// Where their files are.
    pub fn workspaces(&self) -> &Workspaces {
        &self.workspaces
    }
}
