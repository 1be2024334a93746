//! The embedded store: one SQLite file, with one writer that commits changes in groups, and a few readers.

pub(crate) mod columns;
pub(crate) mod connection;
pub(crate) mod copy;
pub(crate) mod lock;
pub(crate) mod open_error;
pub(crate) mod readers;
pub(crate) mod schema;
pub(crate) mod session_cache;
pub(crate) mod sqlite_error;
pub(crate) mod tables;
pub(crate) mod wal;
pub(crate) mod writer;

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use jiff::Timestamp;
use mgx_scheduler::JournalError;

use crate::embedded::connection::{configure_writer, open_for_writing};
use crate::embedded::lock::Lock;
use crate::embedded::open_error::OpenError;
use crate::embedded::readers::Readers;
use crate::embedded::session_cache::SessionCache;
use crate::embedded::wal::log_marks;
use crate::embedded::writer::Writer;

/// A write that says nothing.
const CHECK: &str = "INSERT INTO meta (name, value)
    VALUES ('checked_at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now') || replace(hex(zeroblob(?1 / 2)), '0', ' '))
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// How many bytes are written to find out whether a store that was full has space again.
const CHECKED_BYTES: i64 = 256 * 1024;

/// The durable store of one platform, as [`mgx_scheduler::Journal`], [`mgx_apps::SessionStore`], [`mgx_apps::Archive`],
/// [`mgx_apps::IntentStore`] and [`mgx_oauth2::Storage`].
///
/// A write that has returned `Ok` is on the disk. If the disk is full, writes fail with `Full` until there is space.
/// If the disk fails to sync, or the file is damaged, every write fails from then on and [`failed`](Self::failed)
/// resolves: the process has to start again, because only a new process reads what is really on the disk.
#[derive(Debug)]
pub struct Embedded {
    instance: String,
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) session_cache: SessionCache,
}

impl Embedded {
    /// Opens the store at `path`, or creates it with its directory, readable for its owner only, because jobs may contain
    /// secrets. Blocks meanwhile. `now` is written into the lock file, for people.
    ///
    /// # Errors
    /// [`OpenError`]: another process has the store open, or the file is not a store that this binary can use.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, OpenError> {
        let sqlite = |error| OpenError::sqlite(path, error);
        create_directory(path)?;
        let lock = Lock::take(path, now)?;
        create_file(path)?;
        let has_log = log_marks::has_log(path);
        let mut connection = open_for_writing(path).map_err(sqlite)?;
        let is_new = schema::check(&connection, schema::MIGRATIONS).map_err(|error| error.at(path))?;
        if is_new {
            if !has_log && path.metadata().is_ok_and(|file| file.len() > 0) {
                return Err(OpenError::Empty { path: path.to_owned() });
            }
            // without a log, so that the file of the database is a store from the beginning on
            schema::migrate(&mut connection, schema::MIGRATIONS).map_err(|error| error.at(path))?;
        } else if !has_log && !log_marks::is_complete(&connection).map_err(sqlite)? {
            return Err(OpenError::LogMissing { path: path.to_owned() });
        }
        configure_writer(&connection).map_err(sqlite)?;
        schema::migrate(&mut connection, schema::MIGRATIONS).map_err(|error| error.at(path))?;
        let instance = connection
            .query_row("SELECT value FROM meta WHERE name = 'instance'", [], |row| row.get(0))
            .map_err(sqlite)?;
        let writer = Writer::start(connection, path.to_owned(), lock).map_err(OpenError::io(path))?;
        let (readers, session_cache) = (Readers::new(path.to_owned()), SessionCache::default());
        Ok(Self { instance, writer, readers, session_cache })
    }

    /// The name of this platform: twelve random characters of `a-z0-9`, created with the store and never changed.
    /// Containers have it as a label, so that two platforms on one engine do not touch each other's. A copy of the store
    /// has the same name.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Gives the platform of a copied store a name of its own, from the next start on: its containers are then told from
    /// those of the original.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn renew_instance(&self) -> Result<(), String> {
        let renew = "UPDATE meta SET value = lower(hex(randomblob(6))) WHERE name = 'instance'";
        let renewed = self.writer.write(move |db| db.execute(renew, [])).await;
        renewed.map(drop).map_err(|failure| format!("{failure:?}"))
    }

    /// Whether the store takes writes. It writes something to find out, unless a write has succeeded within the last five
    /// seconds; after a failed one, as much as a job may need.
    ///
    /// # Errors
    /// Why it takes none: the disk is full or read-only, or the file is locked.
    pub async fn check_writable(&self) -> Result<(), JournalError> {
        if self.writer.health().is_good() {
            return Ok(());
        }
        let bytes = if self.writer.health().is_bad() { CHECKED_BYTES } else { 0 };
        let written = self.writer.write(move |db| db.prepare_cached(CHECK)?.execute([bytes]).map(drop)).await;
        Ok(written?)
    }

    /// Resolves when the store must not be used any more, with the reason; never otherwise. The process has to end then.
    pub async fn failed(&self) -> String {
        self.writer.failed().await
    }

    /// Commits the queued writes, moves the write-ahead log into the database, and releases the file. Later calls find the
    /// store unavailable.
    pub async fn close(&self) {
        self.readers.close();
        self.session_cache.clear();
        self.writer.close().await;
    }
}

fn create_directory(path: &Path) -> Result<(), OpenError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(OpenError::io(parent))
        }
        Some(_) | None => Ok(()),
    }
}

/// SQLite gives its write-ahead log the permissions of the database, so it is enough that this file is private.
fn create_file(path: &Path) -> Result<(), OpenError> {
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
