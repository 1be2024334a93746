//! Which session of which user owns a workspace: one small file beside it, written before the workspace is created
//! and removed after the workspace is removed.
//!
//! A user may name the workspace of a new session. Without these files, one user could name the workspace of another.

use std::io::Read;
use std::os::fd::OwnedFd;

use mgx_protocol::{SessionId, WorkspaceId};
use rustix::fs::{AtFlags, OFlags, fsync, unlinkat};

use crate::blocking::blocking;
use crate::confinement::beneath::{make_dir, open_beneath, open_dir};
use crate::error::FileError;
use crate::files::staged::write_once;
use crate::workspaces::Workspaces;

/// The directory of the ownership files. No workspace can have this name: ids do not begin with a dot.
const DIR: &str = ".claims";

/// The longest ownership file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

impl Workspaces {
    /// Makes a session of a user the owner of a workspace until [`Workspaces::release_ownership`]. Whether this
    /// session of this user owns it now.
    ///
    /// # Errors
    /// [`FileError::Full`] or [`FileError::Io`].
    pub async fn take_ownership(
        &self,
        id: &WorkspaceId,
        session: &SessionId,
        user: &str,
    ) -> Result<bool, FileError> {
        let (shared, id, owner) = (self.shared.clone(), id.clone(), record(session, user));
        blocking(move || {
            let dir = make_dir(&shared.dir, DIR, None)?;
            Ok(write_once(&dir, id.as_str(), owner.as_bytes())? || read(&dir, &id)? == owner.as_bytes())
        })
        .await
    }

    /// The user whose session owns a workspace, if one does.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub async fn owner_of(&self, id: &WorkspaceId) -> Result<Option<String>, FileError> {
        let (shared, id) = (self.shared.clone(), id.clone());
        blocking(move || {
            let owner = match open_dir(&shared.dir, DIR) {
                Ok(dir) => read(&dir, &id)?,
                Err(FileError::NotFound) => return Ok(None),
                Err(error) => return Err(error),
            };
            let text = String::from_utf8(owner).unwrap_or_default();
            Ok(text.split_once('\n').map(|(_, user)| user.to_owned()))
        })
        .await
    }

    /// Ends the ownership of a workspace, if this session of this user has it.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub async fn release_ownership(
        &self,
        id: &WorkspaceId,
        session: &SessionId,
        user: &str,
    ) -> Result<(), FileError> {
        let (shared, id, owner) = (self.shared.clone(), id.clone(), record(session, user));
        blocking(move || {
            let dir = open_dir(&shared.dir, DIR)?;
            if read(&dir, &id)? == owner.as_bytes() {
                unlinkat(&dir, id.as_str(), AtFlags::empty())?;
                fsync(&dir)?;
            }
            Ok(())
        })
        .await
    }
}

/// The content of an ownership file.
fn record(session: &SessionId, user: &str) -> String {
    format!("{session}\n{user}")
}

/// The ownership file of a workspace; empty if there is none.
fn read(dir: &OwnedFd, id: &WorkspaceId) -> Result<Vec<u8>, FileError> {
    let mut owner = Vec::new();
    match open_beneath(dir, id.as_str(), OFlags::RDONLY | OFlags::NOFOLLOW) {
        Ok(file) => std::fs::File::from(file).take(MAX_BYTES).read_to_end(&mut owner)?,
        Err(FileError::NotFound) => 0,
        Err(error) => return Err(error),
    };
    Ok(owner)
}
