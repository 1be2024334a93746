//! Sessions and their workspaces, made and removed together.

use std::sync::Arc;

use jiff::Timestamp;
use mgx_protocol::{SessionId, WorkspaceId};

use crate::archive::{Archive, Record};
use crate::file::FileError;
use crate::session::{Framework, Session, SessionError, SessionStore, StoreError, Usage};
use crate::staged::random_hex;
use crate::workspace::Workspace;
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
    pub async fn create(&self, new: NewSession) -> Result<Opened, SessionError> {
        let id = match &new.id {
            Some(id) => id.clone(),
            None => random_id()?,
        };
        let workspace = match &new.workspace {
            Some(workspace) => workspace.clone(),
            None => own_workspace(&id),
        };
        if let Some(there) = self.store.session(&id).await.map_err(SessionError::Store)? {
            return same(there, &new, &workspace);
        }
        // The claim first and the row last: wherever a crash comes in between, the same request again finds what
        // it made, and nobody else can take it.
        if !self.workspaces.claim(&workspace, &id, &new.user).await.map_err(SessionError::Workspace)? {
            return Err(SessionError::Conflict);
        }
        self.workspaces.create(&workspace, new.framework).await.map_err(SessionError::Workspace)?;
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
            Err(StoreError::Conflict) => self.lost_to_another(session, &new).await,
            Err(error @ (StoreError::Full | StoreError::Unavailable(_))) => Err(SessionError::Store(error)),
        }
    }

    /// Takes in a session from elsewhere, with a workspace of its own name that has the starter files.
    ///
    /// # Errors
    /// [`SessionError::Conflict`] if the session, its workspace or a job of it is there already.
    pub async fn admit(&self, archive: &dyn Archive, record: Record) -> Result<Session, SessionError> {
        let session = record.session.clone();
        let Session { id, workspace, user, framework, .. } = &session;
        // before a workspace is made in vain
        let mut is_there = self.store.session(id).await.map_err(SessionError::Store)?.is_some();
        for job in &record.jobs {
            is_there = is_there || archive.has_job(job.id).await.map_err(SessionError::Store)?;
        }
        if is_there || !self.workspaces.claim(workspace, id, user).await.map_err(SessionError::Workspace)? {
            return Err(SessionError::Conflict);
        }
        self.workspaces.create(workspace, *framework).await.map_err(SessionError::Workspace)?;
        match archive.admit(record).await {
            Ok(()) => Ok(session),
            Err(StoreError::Conflict) => {
                let made_meanwhile = self.store.session(id).await.map_err(SessionError::Store)?.is_some();
                if !made_meanwhile {
                    self.workspaces.remove(workspace).await.map_err(SessionError::Workspace)?;
                    self.workspaces.release(workspace, id, user).await.map_err(SessionError::Workspace)?;
                }
                Err(SessionError::Conflict)
            }
            Err(error @ (StoreError::Full | StoreError::Unavailable(_))) => Err(SessionError::Store(error)),
        }
    }

    /// One session, if it is there and `user` may see it (`None` sees everything).
    ///
    /// # Errors
    /// [`SessionError::NotFound`], also for the session of somebody else.
    pub async fn get(&self, id: &SessionId, user: Option<&str>) -> Result<Session, SessionError> {
        let session = self.store.session(id).await.map_err(SessionError::Store)?;
        session.filter(|session| user.is_none_or(|user| user == session.user)).ok_or(SessionError::NotFound)
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
    pub async fn delete(&self, id: &SessionId, user: Option<&str>) -> Result<(), SessionError> {
        let session = self.get(id, user).await?;
        // The other way round than it was made: as long as the row is there, this can be done again; and as
        // long as the claim is there, nobody else's files lie in the workspace.
        let workspace = &session.workspace;
        let ours =
            self.workspaces.claim(workspace, id, &session.user).await.map_err(SessionError::Workspace)?;
        if ours {
            self.workspaces.remove(workspace).await.map_err(SessionError::Workspace)?;
        }
        self.store.delete(id).await.map_err(SessionError::Store)?;
        self.workspaces.release(workspace, id, &session.user).await.map_err(SessionError::Workspace)
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
    /// [`FileError::NotFound`], also for the workspace of somebody else; or [`FileError::Io`].
    pub async fn workspace(&self, id: &WorkspaceId, user: Option<&str>) -> Result<Workspace, FileError> {
        let is_theirs = match user {
            Some(user) => self.workspaces.user_of(id).await?.is_some_and(|owner| owner == user),
            None => true,
        };
        if is_theirs { self.workspaces.workspace(id).await } else { Err(FileError::NotFound) }
    }

    /// Where their files are.
    pub fn workspaces(&self) -> &Workspaces {
        &self.workspaces
    }

    /// Another request has made a session of this id at the same moment: the same one, or theirs.
    async fn lost_to_another(&self, ours: Session, new: &NewSession) -> Result<Opened, SessionError> {
        let theirs = self.store.session(&ours.id).await.map_err(SessionError::Store)?;
        let theirs = theirs.ok_or(SessionError::Conflict)?;
        if theirs.workspace != ours.workspace {
            self.workspaces.remove(&ours.workspace).await.map_err(SessionError::Workspace)?;
            let released = self.workspaces.release(&ours.workspace, &ours.id, &ours.user).await;
            released.map_err(SessionError::Workspace)?;
        }
        same(theirs, new, &ours.workspace)
    }
}

/// The session that is there, if it is the one that was asked for.
fn same(there: Session, new: &NewSession, workspace: &WorkspaceId) -> Result<Opened, SessionError> {
    let equal = there.user == new.user && there.framework == new.framework && there.workspace == *workspace;
    if equal { Ok(Opened { session: there, created: false }) } else { Err(SessionError::Conflict) }
}

/// Twelve random digits. Should two sessions ever meet, the second is refused.
fn random_id() -> Result<SessionId, SessionError> {
    let digits = random_hex::<6>().map_err(SessionError::Workspace)?;
    Ok(digits.parse().expect("hexadecimal digits are a session id"))
}

/// The workspace of the session's own name.
fn own_workspace(id: &SessionId) -> WorkspaceId {
    id.as_str().parse().expect("session ids and workspace ids have the same rules")
}
