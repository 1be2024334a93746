//! Sessions and their workspaces, created and deleted together.

pub(crate) mod archive;
pub(crate) mod retention;
pub(crate) mod session;
pub(crate) mod session_store;

use std::sync::Arc;

use jiff::Timestamp;
use mgx_protocol::{Conversation, SessionId, WorkspaceId};
use mgx_scheduler::{Event, Job};
use mgx_workspaces::{FileError, Workspace, Workspaces, random_hex};

use crate::conversation::{Recall, message_of};
use crate::framework::Framework;
use crate::sessions::archive::{Archive, ArchivedSession};
use crate::sessions::session::{Session, Usage};
use crate::sessions::session_store::{MessagePage, SessionStore};
use crate::store_error::StoreError;

/// How many messages are read at a time.
const MESSAGES_AT_A_TIME: usize = 500;

/// How many pages of messages are read at most; each has at most 256 KiB.
const MAX_PAGES: usize = 200;

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
    /// What its app will be built with.
    pub framework: Framework,
    /// The user that it will belong to.
    pub user: String,
    /// Its workspace; one of the session's own name if absent.
    pub workspace: Option<WorkspaceId>,
}

/// A session that was created, or that was there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Whether it was not there before.
    pub created: bool,
}

/// Why an operation on a session was refused or failed.
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
    /// The workspace could not be created or removed.
    #[error("cannot prepare the workspace: {0}")]
    Workspace(FileError),
}

impl Sessions {
    /// The sessions in `store`, with their files in `workspaces`.
    pub fn new(store: Arc<dyn SessionStore>, workspaces: Workspaces) -> Self {
        Self { store, workspaces }
    }

    /// Creates a session and its workspace, or returns the session that an earlier, equal request created.
    ///
    /// # Errors
    /// [`SessionError::Conflict`] if the session or the workspace belongs to another user, session or framework.
    pub async fn create(&self, new: NewSession) -> Result<Opened, SessionError> {
        let id = match &new.id {
            Some(id) => id.clone(),
            None => random_id()?,
        };
        let workspace = match &new.workspace {
            Some(workspace) => workspace.clone(),
            None => own_workspace(&id),
        };
        if let Some(stored) = self.store.session(&id).await.map_err(SessionError::Store)? {
            let opened = existing(stored, &new, &workspace)?;
            self.ensure_workspace(&opened.session).await.map_err(SessionError::Workspace)?;
            return Ok(opened);
        }
        // Ownership first and the session last: if the process stops in between, the same request finds and completes
        // what was created, and no other session can take the workspace.
        if !self
            .workspaces
            .take_ownership(&workspace, &id, &new.user)
            .await
            .map_err(SessionError::Workspace)?
        {
            return Err(SessionError::Conflict);
        }
        self.workspaces
            .create(&workspace, new.framework.starter_files())
            .await
            .map_err(SessionError::Workspace)?;
        let session = Session {
            id,
            name: new.name.clone(),
            framework: new.framework,
            workspace,
            user: new.user.clone(),
            created_at: Timestamp::now(),
            usage: Usage::default(),
        };
        match self.store.insert(&session).await {
            Ok(()) => Ok(Opened { session, created: true }),
            Err(StoreError::Conflict) => self.resolve_conflict(session, &new).await,
            Err(error @ (StoreError::Full | StoreError::Unavailable(_))) => Err(SessionError::Store(error)),
        }
    }

    /// A page of the messages of a session, as their events.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn messages(&self, id: &SessionId, page: MessagePage) -> Result<Vec<Event>, SessionError> {
        self.store.messages(id, page).await.map_err(SessionError::Store)
    }

    /// What a job of a session's team is told of the conversation.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn conversation(&self, job: &Job) -> Result<Conversation, StoreError> {
        let mut recall = Recall::of(job);
        let mut before = u64::MAX;
        for _ in 0..MAX_PAGES {
            let page = MessagePage { after: 0, before, is_newest_first: true, limit: MESSAGES_AT_A_TIME };
            let events = self.store.messages(&job.session, page).await?;
            let Some(oldest) = events.last() else { break };
            before = oldest.seq;
            if !events.iter().filter_map(message_of).all(|message| recall.add(message)) {
                break;
            }
        }
        Ok(recall.conversation())
    }

    /// Stores a session that was exported elsewhere, with a workspace of its own name that has the starter files.
    ///
    /// # Errors
    /// [`SessionError::Conflict`] if the session, its workspace or a job of it is there already.
    pub async fn import(
        &self,
        archive: &dyn Archive,
        archived: ArchivedSession,
    ) -> Result<Session, SessionError> {
        let session = archived.session.clone();
        let Session { id, workspace, user, framework, .. } = &session;
        // checked before a workspace is created in vain
        let mut is_there = self.store.session(id).await.map_err(SessionError::Store)?.is_some();
        for job in &archived.jobs {
            is_there = is_there || archive.has_job(job.id).await.map_err(SessionError::Store)?;
        }
        if is_there
            || !self.workspaces.take_ownership(workspace, id, user).await.map_err(SessionError::Workspace)?
        {
            return Err(SessionError::Conflict);
        }
        self.workspaces
            .create(workspace, framework.starter_files())
            .await
            .map_err(SessionError::Workspace)?;
        match archive.import(archived).await {
            Ok(()) => Ok(session),
            Err(StoreError::Conflict) => {
                let created_meanwhile = self.store.session(id).await.map_err(SessionError::Store)?.is_some();
                if !created_meanwhile {
                    self.workspaces.remove(workspace).await.map_err(SessionError::Workspace)?;
                    self.workspaces
                        .release_ownership(workspace, id, user)
                        .await
                        .map_err(SessionError::Workspace)?;
                }
                Err(SessionError::Conflict)
            }
            Err(error @ (StoreError::Full | StoreError::Unavailable(_))) => Err(SessionError::Store(error)),
        }
    }

    /// One session, if it is there and `user` may see it (`None` sees everything).
    ///
    /// # Errors
    /// [`SessionError::NotFound`], also for the session of another user.
    pub async fn get(&self, id: &SessionId, user: Option<&str>) -> Result<Session, SessionError> {
        let session = self.store.session(id).await.map_err(SessionError::Store)?;
        session.filter(|session| user.is_none_or(|user| user == session.user)).ok_or(SessionError::NotFound)
    }

    /// The sessions of `user` (of all users, if `None`), newest first, older than `before`, at most `limit`.
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

    /// Deletes a session and its workspace. Its jobs must have ended.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], also for the session of another user. After any other error the caller may retry.
    pub async fn delete(&self, id: &SessionId, user: Option<&str>) -> Result<(), SessionError> {
        let session = self.get(id, user).await?;
        // The reverse order of creation: as long as the session is stored, this can be repeated; and as long as it owns
        // the workspace, no other session's files lie there.
        let workspace = &session.workspace;
        let owned = self
            .workspaces
            .take_ownership(workspace, id, &session.user)
            .await
            .map_err(SessionError::Workspace)?;
        if owned {
            self.workspaces.remove(workspace).await.map_err(SessionError::Workspace)?;
        }
        self.store.delete(id).await.map_err(SessionError::Store)?;
        self.workspaces.release_ownership(workspace, id, &session.user).await.map_err(SessionError::Workspace)
    }

    /// Adds to what a session has used of the model, and returns the sum.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn add_usage(&self, id: &SessionId, used: Usage) -> Result<Usage, SessionError> {
        self.store.add_usage(id, used).await.map_err(SessionError::Store)
    }

    /// A workspace, if it is there and `user` may see it (`None` sees everything).
    ///
    /// # Errors
    /// [`FileError::NotFound`], also for the workspace of another user; or [`FileError::Io`].
    pub async fn workspace(&self, id: &WorkspaceId, user: Option<&str>) -> Result<Workspace, FileError> {
        let is_theirs = match user {
            Some(user) => self.workspaces.owner_of(id).await?.is_some_and(|owner| owner == user),
            None => true,
        };
        if is_theirs { self.workspaces.workspace(id).await } else { Err(FileError::NotFound) }
    }

    /// Makes the workspace of a session again, with the starter files, if its directory was deleted: otherwise no job of the
    /// session could ever run again. Whether it was made.
    ///
    /// # Errors
    /// The workspace cannot be opened or made.
    pub(crate) async fn ensure_workspace(&self, session: &Session) -> Result<bool, FileError> {
        let Session { id, workspace, user, framework, .. } = session;
        match self.workspaces.workspace(workspace).await {
            Ok(_) => return Ok(false),
            Err(FileError::NotFound) => {}
            Err(error) => return Err(error),
        }
        if !self.workspaces.take_ownership(workspace, id, user).await? {
            return Err(FileError::NotFound);
        }
        let made = self.workspaces.create(workspace, framework.starter_files()).await?;
        if made {
            tracing::warn!(session = %id, %workspace, "the directory of a workspace was gone; it was made again");
        }
        Ok(made)
    }

    /// The workspaces of the sessions.
    pub fn workspaces(&self) -> &Workspaces {
        &self.workspaces
    }

    /// Another request has created a session of this id at the same moment: returns it if it is equal, and removes the
    /// workspace that was created for nothing if it is not.
    async fn resolve_conflict(&self, refused: Session, new: &NewSession) -> Result<Opened, SessionError> {
        let stored = self.store.session(&refused.id).await.map_err(SessionError::Store)?;
        let stored = stored.ok_or(SessionError::Conflict)?;
        if stored.workspace != refused.workspace {
            self.workspaces.remove(&refused.workspace).await.map_err(SessionError::Workspace)?;
            let released =
                self.workspaces.release_ownership(&refused.workspace, &refused.id, &refused.user).await;
            released.map_err(SessionError::Workspace)?;
        }
        existing(stored, new, &refused.workspace)
    }
}

/// The session that is stored already, if it is equal to the requested one.
fn existing(stored: Session, new: &NewSession, workspace: &WorkspaceId) -> Result<Opened, SessionError> {
    let equal =
        stored.user == new.user && stored.framework == new.framework && stored.workspace == *workspace;
    if equal { Ok(Opened { session: stored, created: false }) } else { Err(SessionError::Conflict) }
}

/// Twelve random hexadecimal digits. If two sessions ever get the same id, the second is refused.
fn random_id() -> Result<SessionId, SessionError> {
    let digits = random_hex::<6>().map_err(|error| SessionError::Workspace(error.into()))?;
    Ok(digits.parse().expect("hexadecimal digits are a session id"))
}

/// The workspace that has the name of the session.
fn own_workspace(id: &SessionId) -> WorkspaceId {
    id.as_str().parse().expect("session ids and workspace ids have the same rules")
}
