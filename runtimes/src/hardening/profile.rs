//! The system-call profile as a file, for engines that take a path only.

use std::path::Path;

use crate::hardening::SECCOMP;
use crate::{RuntimeError, RuntimeErrorKind};

/// Writes the profile to `path`, atomically, so that no reader sees a part of it.
///
/// # Errors
/// `Refused` if it cannot be written.
pub(crate) async fn write_profile(path: &Path) -> Result<(), RuntimeError> {
    let writing = async {
        let beside = path.with_extension(format!("{}.new", uuid::Uuid::now_v7()));
        tokio::fs::write(&beside, SECCOMP).await?;
        tokio::fs::rename(&beside, path).await
    };
    writing.await.map_err(|error| {
        let message = format!("cannot write the system-call profile to {}", path.display());
        RuntimeError::new(RuntimeErrorKind::Refused, message).because(error)
    })
}
