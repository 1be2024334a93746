//! How the connections of the embedded store use SQLite.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// How many prepared statements each connection keeps: more than the store has.
const STATEMENTS: usize = 64;

/// How long the writer waits for a lock that another program holds on the database.
const WRITER_BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens the database for writing.
pub(crate) fn open_for_writing(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Sets the writer's options. `synchronous = FULL`: the write-ahead log is synced before a commit returns. The log is
/// checkpointed by [`crate::embedded::wal::Wal`], never by SQLite itself, and keeps its space on the disk: a commit that
/// need not extend a file is synced sooner.
pub(crate) fn configure_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(WRITER_BUSY_TIMEOUT)?;
    plan_statements_once(connection)?;
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

/// Opens a read-only connection that waits for locks no longer than `busy_timeout`.
pub(crate) fn open_for_reading(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    plan_statements_once(&connection)?;
    connection.execute_batch("PRAGMA cache_size = -1024; PRAGMA cell_size_check = ON;")?;
    Ok(connection)
}

/// Makes SQLite plan each statement once. Otherwise it plans a statement again whenever a parameter has changed that a
/// partial index may depend on, which here is every time and never makes a difference.
fn plan_statements_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
