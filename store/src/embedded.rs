//! The embedded store: one SQLite file, nothing to start.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::OpenError;
use crate::known::Known;
use crate::lock::Lock;
use crate::log::Log;
use crate::readers::Readers;
use crate::schema;
use crate::writer::Writer;

/// How many statements each connection keeps prepared: more than there are.
const STATEMENTS: usize = 64;

/// The durable store of one platform, as [`mgx_scheduler::Journal`] and [`mgx_apps::SessionStore`].
///
/// A write that has returned `Ok` is on the disk. If the disk is full, writes fail with `Full` until there is space.
/// If the disk fails to sync, or the file is damaged, every write fails from then on and [`failed`](Self::failed)
/// resolves: the process has to start again, for only a new one reads what is really there.
#[derive(Debug)]
pub struct Embedded {
    instance: String,
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) known: Known,
}

impl Embedded {
    /// Opens the store at `path`, or makes it, with its directory, readable by its owner alone: jobs may hold secrets.
    /// Blocks while it does. `now` is written into the lock file, for people.
    ///
    /// # Errors
    /// [`OpenError`]: another process has it open, or it is not a store that this binary can use.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, OpenError> {
        let sqlite = |error| OpenError::sqlite(path, error);
        make_directory(path)?;
        let lock = Lock::take(path, now)?;
        make_file(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
        schema::check(&connection, schema::MIGRATIONS).map_err(|unfit| unfit.at(path))?;
        configure(&connection).map_err(sqlite)?;
        schema::migrate(&mut connection, schema::MIGRATIONS).map_err(|unfit| unfit.at(path))?;
        let instance = connection
            .query_row("SELECT value FROM meta WHERE name = 'instance'", [], |row| row.get(0))
            .map_err(sqlite)?;
        let log = Log::start(path.to_owned()).map_err(OpenError::io(path))?;
        let writer = Writer::start(connection, log, lock).map_err(OpenError::io(path))?;
        Ok(Self { instance, writer, readers: Readers::new(path.to_owned()), known: Known::default() })
    }

    /// A name for this platform: twelve of `a-z0-9`, made at random with the store and the same ever after. Containers
    /// carry it as a label, so that two platforms on one engine leave each other's alone. A copy of the store has the
    /// same one.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Resolves when the store must not be used any more, and says why; never otherwise. End the process then.
    pub async fn failed(&self) -> String {
        self.writer.failed().await
    }

    /// Finishes the writes that wait, moves all of them from the log into the database, and lets go of the file.
    /// Whoever calls afterwards finds the store unavailable.
    pub async fn close(&self) {
        self.readers.close();
        self.known.clear();
        self.writer.close().await;
    }
}

/// How the writer uses SQLite. `synchronous = FULL`: the log is synced before a commit returns. What is in the log is
/// moved into the database by [`Log`], never by SQLite itself. The log keeps its space on the disk: a commit that need
/// not extend a file is synced sooner.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(1))?;
    stable_plans(connection)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 134217728;
         PRAGMA cache_size = -4096;
         PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF;",
    )
}

/// Plans each statement once. Otherwise SQLite plans it again whenever a parameter has changed that a partial index may
/// depend on, which here is every time and never makes a difference.
pub(crate) fn stable_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn make_directory(path: &Path) -> Result<(), OpenError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(OpenError::io(parent))
        }
        Some(_) | None => Ok(()),
    }
}

/// SQLite gives its log the permissions of the database, so it is enough to make this one file private.
fn make_file(path: &Path) -> Result<(), OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            File::open(parent).and_then(|directory| directory.sync_all()).map_err(OpenError::io(parent))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(OpenError::io(path)(error)),
    }
}
