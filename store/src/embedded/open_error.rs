//! Why the embedded store could not be opened.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the embedded store could not be opened. The operator has to act.
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
    /// A newer version of the platform has written the store.
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
    /// The database belongs to another program.
    #[error("{} is the database of another program", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a database, or it is damaged.
    #[error("{} is damaged: {reason}: put a backup in its place", path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// The message of SQLite.
        reason: String,
    },
    /// The file is a part of a store: the newest writes are in a log that is not beside it.
    #[error(
        "{} is only a part of a store: the newest writes are in its write-ahead log {}-wal, which is missing. Put that file \
         beside it, or restore a backup (docs/backup.md)",
        path.display(),
        path.display()
    )]
    LogMissing {
        /// The store.
        path: PathBuf,
    },
    /// The file is a database without content.
    #[error(
        "{} holds nothing: everything is in its write-ahead log {}-wal, which is missing. Put that file beside it, or restore a \
         backup (docs/backup.md); to begin a new platform, delete the empty file",
        path.display(),
        path.display()
    )]
    Empty {
        /// The store.
        path: PathBuf,
    },
    /// SQLite could not open the store.
    #[error("cannot open {}", path.display())]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// The message of SQLite.
        source: rusqlite::Error,
    },
    /// A file beside the store could not be created.
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
            // an enum of rusqlite
            Some(_) | None => Self::Sqlite { path, source },
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
