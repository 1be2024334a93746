//! Two numbers in the database, by which a database whose write-ahead log is missing is known.
//!
//! The database names the log that belongs to it (`log_expected`) before a checkpoint moves pages into it; the log itself
//! says that it is there (`log_present`) in the first commit after the checkpoint. Read together they are equal. In the
//! file of the database alone they differ while the store is in use, and are equal after it was closed in order.

use std::path::Path;

use rusqlite::Connection;

/// Bytes of the header of a write-ahead log: a shorter one holds nothing.
const LOG_HEADER_BYTES: u64 = 32;

const EXPECT_NEXT: &str = "INSERT INTO meta (name, value) VALUES ('log_expected', '1')
    ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1";

const NOTE_PRESENT: &str = "INSERT INTO meta (name, value)
    SELECT 'log_present', value FROM meta WHERE name = 'log_expected'
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value";

const IS_COMPLETE: &str = "SELECT coalesce((SELECT value FROM meta WHERE name = 'log_expected'), '0')
    = coalesce((SELECT value FROM meta WHERE name = 'log_present'), '0')";

/// Says that the database needs a log that is not there yet. To be called before a checkpoint.
pub(crate) fn expect_next(writer: &Connection) -> rusqlite::Result<()> {
    writer.prepare_cached(EXPECT_NEXT)?.execute([]).map(drop)
}

/// Says that the log is there that the database needs. To be called after a checkpoint, and before the store is closed.
pub(crate) fn note_present(writer: &Connection) -> rusqlite::Result<()> {
    writer.prepare_cached(NOTE_PRESENT)?.execute([]).map(drop)
}

/// Whether the log is there that the database needs.
pub(crate) fn is_complete(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(IS_COMPLETE, [], |row| row.get(0))
}

/// Whether there is a write-ahead log with content beside the database. To be called before the database is opened, which
/// may make its log, or remove one that is empty.
pub(crate) fn has_log(database: &Path) -> bool {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).metadata().is_ok_and(|file| file.len() >= LOG_HEADER_BYTES)
}
