//! A copy of a store that may be in use meanwhile: everything that was stored at one moment, in one file.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use serde::{Deserialize, Serialize};

use crate::embedded::columns::count;
use crate::embedded::connection::{open_for_reading, open_for_writing};
use crate::embedded::open_error::OpenError;
use crate::embedded::schema;
use crate::embedded::wal::log_marks;

/// How long the copy waits for a lock that another program holds on the database. A server that uses the store holds none
/// that a reader has to wait for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a copy of a store holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The name of the platform.
    pub instance: String,
    /// The version of the schema.
    pub schema: i64,
    /// How many sessions.
    pub sessions: u64,
    /// How many jobs.
    pub jobs: u64,
    /// How many events.
    pub events: u64,
}

/// Why a store could not be copied, or a copy is not sound.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no store to copy.
    #[error("there is no store {0}")]
    Missing(String),
    /// The store is one that no server would use either.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy is not sound: the store is damaged, or the disk of the copy.
    #[error("the copy is not sound: {0}")]
    Unsound(String),
    /// The store could not be read, or the copy not written.
    #[error("cannot copy the store: {0}")]
    Copy(String),
}

impl Snapshot {
    /// Copies the store at `path` into the new file `copy`, readable for its owner only, opens the copy and checks it.
    /// Blocks meanwhile. A server may use the store: it goes on writing, and the copy has what was stored when it began.
    ///
    /// # Errors
    /// [`SnapshotError`]; then `copy` may be there in part.
    pub fn take(path: &Path, copy: &Path) -> Result<Self, SnapshotError> {
        let sqlite = |error: rusqlite::Error| OpenError::sqlite(path, error);
        if !path.exists() {
            return Err(SnapshotError::Missing(path.display().to_string()));
        }
        let has_log = log_marks::has_log(path);
        let store = open_for_reading(path, BUSY_TIMEOUT).map_err(sqlite)?;
        if schema::check(&store, schema::MIGRATIONS).map_err(|error| error.at(path))? {
            return Err(OpenError::Empty { path: path.to_owned() }.into());
        }
        if !has_log && !log_marks::is_complete(&store).map_err(sqlite)? {
            return Err(OpenError::LogMissing { path: path.to_owned() }.into());
        }
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy);
        written.map_err(|error| SnapshotError::Copy(format!("{}: {error}", copy.display())))?;
        let target = copy.to_str().ok_or_else(|| SnapshotError::Copy("the path is not UTF-8".to_owned()))?;
        // one transaction, which reads every row: a damaged page is found here
        store.execute("VACUUM INTO ?1", [target]).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => SnapshotError::Copy("the disk of the backup is full".to_owned()),
            Some(_) | None => SnapshotError::Copy(error.to_string()),
        })?;
        let copied = open_for_writing(copy).map_err(|error| unsound(&error))?;
        log_marks::note_present(&copied).map_err(|error| unsound(&error))?;
        copied.close().map_err(|(_, error)| unsound(&error))?;
        Self::check(copy)
    }

    /// Checks the copy at `path`, every page of it, and says what it holds. Blocks meanwhile.
    ///
    /// # Errors
    /// It is not a sound copy of a store that this version can use.
    pub fn check(path: &Path) -> Result<Self, SnapshotError> {
        let copy = open_for_reading(path, BUSY_TIMEOUT).map_err(|error| OpenError::sqlite(path, error))?;
        let is_new = schema::check(&copy, schema::MIGRATIONS).map_err(|error| error.at(path))?;
        if is_new || !log_marks::is_complete(&copy).map_err(|error| unsound(&error))? {
            return Err(SnapshotError::Unsound(format!("{} is not the whole store", path.display())));
        }
        let found: String = copy
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|error| unsound(&error))?;
        if found != "ok" {
            return Err(SnapshotError::Unsound(found));
        }
        Self::of(&copy).map_err(|error| unsound(&error))
    }

    fn of(copy: &Connection) -> rusqlite::Result<Self> {
        copy.query_row(
            "SELECT (SELECT value FROM meta WHERE name = 'instance'), v.user_version,
                    (SELECT count(*) FROM sessions), (SELECT count(*) FROM jobs), (SELECT count(*) FROM events)
             FROM pragma_user_version v",
            [],
            |row| {
                Ok(Self {
                    instance: row.get(0)?,
                    schema: row.get(1)?,
                    sessions: count(row, 2)?,
                    jobs: count(row, 3)?,
                    events: count(row, 4)?,
                })
            },
        )
    }
}

fn unsound(error: &rusqlite::Error) -> SnapshotError {
    SnapshotError::Unsound(error.to_string())
}
