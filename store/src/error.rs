//! What can go wrong with the store, sorted by who can do something about it.

use std::io;
use std::path::{Path, PathBuf};

use mgx_apps::StoreError;
use mgx_scheduler::JournalError;
use rusqlite::{ErrorCode, ffi};

/// Why the store could not be opened. The operator reads this and acts.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by {by}", path.display())]
    Held {
        /// The store.
        path: PathBuf,
        /// `pid 1234 on host since 2026-01-02T03:04:05Z`.
        by: String,
    },
    /// A newer version of the platform has written it.
    #[error(
        "{} has schema {found}, and this version of mgx knows schemas up to {supported}: start the newer version",
        path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this binary knows.
        supported: usize,
    },
    /// It is a database, but not one of ours.
    #[error("{} is the database of another program", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is no database, or a broken one.
    #[error("{} is damaged: {reason}: put a backup in its place", path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// SQLite could not open it.
    #[error("cannot open {}", path.display())]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A file beside it could not be made.
    #[error("cannot open {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, reason: source.to_string() }
            }
            // `ErrorCode` is not ours
            Some(_) | None => Self::Sqlite { path, source },
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Why the open store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No space on the disk. Nothing was written; it works again when there is space.
    Full,
    /// It did not work this time. Nothing was written.
    Unavailable(String),
    /// It must not be used any more: the process has to start again. After a failed fsync nobody knows what is on
    /// the disk, and the next fsync would report success all the same (Rebello et al., "Can Applications Recover
    /// from fsync Failures?", USENIX ATC 2020).
    Broken(String),
}

impl Trouble {
    /// Whether the disk, or the file on it, is the reason: then the whole transaction is lost, not one change.
    pub(crate) fn is_of_the_disk(error: &rusqlite::Error) -> bool {
        matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::OutOfMemory
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
            )
        )
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error().map(|error| (error.code, error.extended_code)) {
            Some((ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE)) => Self::Full,
            Some(
                (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _)
                | (_, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC),
            ) => Self::Broken(error.to_string()),
            Some(_) | None => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<Trouble> for JournalError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full => Self::Full,
            Trouble::Unavailable(why) | Trouble::Broken(why) => Self::Unavailable(why),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full => Self::Full,
            Trouble::Unavailable(why) | Trouble::Broken(why) => Self::Unavailable(why),
        }
    }
}
