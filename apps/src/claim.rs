//! Whose a workspace is: one small file beside it, written before the workspace and removed after it.
//!
//! Users may name the workspace of a new session. Without this, they could name somebody else's.

use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, OFlags, unlinkat};

use mgx_protocol::{SessionId, WorkspaceId};

use crate::beneath::{make_dir, open_beneath, open_dir};
use crate::file::FileError;
use crate::staged::write_once;
use crate::workspace::blocking;
use crate::workspaces::Workspaces;

/// Where the claims are; no workspace can have this name.
const DIR: &str = ".claims";

impl Workspaces {
    /// Claims a workspace for a session of a user, for ever until it is released. Whether it is theirs now.
    ///
    /// # Errors
    /// [`FileError::Full`] or [`FileError::Io`].
    pub async fn claim(&self, id: &WorkspaceId, session: &SessionId, user: &str) -> Result<bool, FileError> {
        let (shared, id, claim) = (self.shared.clone(), id.clone(), format!("{session}\n{user}"));
        blocking(move || {
            let dir = make_dir(&shared.dir, DIR, None)?;
            Ok(write_once(&dir, id.as_str(), claim.as_bytes())? || read(&dir, &id)? == claim.as_bytes())
        })
        .await
    }

    /// Whose a workspace is, if anybody's.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub async fn user_of(&self, id: &WorkspaceId) -> Result<Option<String>, FileError> {
        let (shared, id) = (self.shared.clone(), id.clone());
        blocking(move || {
            let claim = match open_dir(&shared.dir, DIR) {
                Ok(dir) => read(&dir, &id)?,
                Err(FileError::NotFound) => return Ok(None),
                Err(error) => return Err(error),
            };
            let text = String::from_utf8(claim).unwrap_or_default();
            Ok(text.split_once('\n').map(|(_, user)| user.to_owned()))
        })
        .await
    }

    /// Gives a workspace up, if it is claimed for this session of this user.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub async fn release(&self, id: &WorkspaceId, session: &SessionId, user: &str) -> Result<(), FileError> {
        let (shared, id, claim) = (self.shared.clone(), id.clone(), format!("{session}\n{user}"));
        blocking(move || {
            let dir = open_dir(&shared.dir, DIR)?;
            if read(&dir, &id)? == claim.as_bytes() {
                unlinkat(&dir, id.as_str(), AtFlags::empty())?;
                rustix::fs::fsync(&dir)?;
            }
            Ok(())
        })
        .await
    }
}

fn read(dir: &OwnedFd, id: &WorkspaceId) -> Result<Vec<u8>, FileError> {
    let mut claim = Vec::new();
    match open_beneath(dir, id.as_str(), OFlags::RDONLY | OFlags::NOFOLLOW) {
        Ok(file) => std::fs::File::from(file).take(64 * 1024).read_to_end(&mut claim)?,
        Err(FileError::NotFound) => 0,
        Err(error) => return Err(error),
    };
    Ok(claim)
}
