//! The write-ahead log, kept short by checkpoints: a thread moves committed pages from the log into the database.
//!
//! A commit only appends to the log and syncs it. A checkpoint takes many times as long, so a thread does most of it while
//! the writer goes on, and the writer itself moves only the few pages that were added meanwhile. Then the log is empty,
//! and the next commit starts it again in the space that it has on the disk already. If the thread cannot keep up, the
//! writer waits for it, so the log is bounded.
//!
//! A checkpoint is made when the log is long, and when it has been a minute since the last one, so that the file of the
//! database is never far behind. What is in the log all the same is lost to a program that copies the database alone;
//! [`log_marks`] makes such a copy known.
//!
//! A checkpoint that fails does no harm, even if its fsync failed: pages that were not moved stay in the log, which is
//! synced, and are moved by the next checkpoint.

pub(crate) mod log_marks;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::setpriority_process;

use crate::embedded::connection::open_for_writing;
use crate::error::Failure;

/// Pages in the log at which a checkpoint begins (64 MiB). Most pages are written many times and moved once, so fewer
/// checkpoints leave the disk more time for commits.
const CHECKPOINT_PAGES: i64 = 16_000;

/// Pages that the writer moves itself, in about a millisecond.
const WRITER_PAGES: i64 = 256;

/// Pages in the log at which the writer waits for the thread. With their headers they fit into `journal_size_limit`.
const MAX_PAGES: i64 = 32_000;

/// How long what was written stays in the log alone, if the log is not long.
pub(crate) const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(1);

/// The niceness of the thread: callers that wait for a reply come first.
const NICENESS: i32 = 5;

/// The write-ahead log, owned by the writer.
#[derive(Debug)]
pub(crate) struct Wal {
    checkpointer: Checkpointer,
    /// Pages in the log at which the next checkpoint is tried.
    next: i64,
    /// When the next checkpoint is tried of a log that has anything new.
    due: Instant,
    interval: Duration,
    /// Pages in the log when it had nothing new.
    idle_pages: Option<i64>,
    /// Whether the database expects the next log already: a checkpoint is under way.
    is_marked: bool,
}

/// How long the log is.
#[derive(Clone, Copy, Debug)]
struct Length {
    pages: i64,
    /// How many of them, from the first, are in the database already.
    checkpointed: i64,
}

impl Wal {
    /// Starts the thread for the store at `path`. The first checkpoint is due at once, the others `interval` after the
    /// one before. The thread calls `wake` when the writer should look whether one is due although nothing is written.
    pub(crate) fn start(
        path: PathBuf,
        interval: Duration,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let checkpointer = Checkpointer::start(path, interval, wake)?;
        let (next, due) = (CHECKPOINT_PAGES, Instant::now());
        Ok(Self { checkpointer, next, due, interval, idle_pages: None, is_marked: false })
    }

    /// Moves pages from the log into the database if the log is long, or has been there for long. The writer calls this
    /// after every commit, with its own connection.
    ///
    /// # Errors
    /// The log cannot be written or synced: what that means for the store is the same as with any other commit.
    pub(crate) fn checkpoint_if_due(&mut self, writer: &Connection) -> Result<(), Failure> {
        let length = Length::of(writer)?;
        if length.pages < CHECKPOINT_PAGES {
            self.next = CHECKPOINT_PAGES;
        }
        let is_old = self.idle_pages != Some(length.pages) && self.due <= Instant::now();
        if length.pages < self.next && !is_old {
            return Ok(());
        }
        if length.pages >= MAX_PAGES {
            self.checkpointer.wait();
        } else if self.checkpointer.is_busy() {
            return Ok(());
        }
        if !self.is_marked {
            match log_marks::expect_next(writer).map_err(Failure::from) {
                Ok(()) => self.is_marked = true,
                Err(broken @ Failure::Broken(_)) => return Err(broken),
                // on a full disk the mark may find no space, and the checkpoint is needed all the more
                Err(failure @ (Failure::Full | Failure::Unavailable(_))) => {
                    tracing::warn!(?failure, "cannot mark the store's write-ahead log; trying again later");
                }
            }
        }
        if length.pages < MAX_PAGES
            && length.pages - length.checkpointed > WRITER_PAGES
            && self.checkpointer.begin()
        {
            return Ok(());
        }
        // a query that reads an old page may prevent the checkpoint: the next is tried later, or when there are more pages
        self.next = length.pages + WRITER_PAGES;
        self.due = Instant::now() + self.interval;
        match checkpoint(writer) {
            Ok(true) => {
                log_marks::note_present(writer)?;
                self.is_marked = false;
                self.idle_pages = Some(Length::of(writer)?.pages);
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot checkpoint the store's write-ahead log; trying again later");
            }
        }
        Ok(())
    }
}

impl Length {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
            .query_one([], |row| Ok(Self { pages: row.get(1)?, checkpointed: row.get(2)? }))
    }
}

/// Moves pages that no query reads any more from the log into the database. Waits for no query. Whether no page is left
/// to be moved.
fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?
        .query_one([], |row| Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?))
}

/// A thread that makes a checkpoint on request.
#[derive(Debug)]
struct Checkpointer {
    requests: Option<SyncSender<()>>,
    done: Receiver<()>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    fn start(path: PathBuf, interval: Duration, wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (requests, requested) = sync_channel(1);
        let (report, done) = sync_channel(1);
        let thread = thread::Builder::new().name("mgx-store-log".into()).spawn(move || {
            setpriority_process(None, NICENESS).ok();
            let mut connection = None;
            loop {
                match requested.recv_timeout(interval) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Timeout) => {
                        wake();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                let open = || open_for_writing(&path);
                let result = match connection.take().map_or_else(open, Ok) {
                    Ok(open) => checkpoint(connection.insert(open)),
                    Err(error) => Err(error),
                };
                if let Err(error) = result {
                    tracing::warn!(%error, "cannot checkpoint the store's write-ahead log; trying again later");
                }
                if report.send(()).is_err() {
                    return;
                }
                wake();
            }
        })?;
        Ok(Self { requests: Some(requests), done, busy: false, thread: Some(thread) })
    }

    /// Requests a checkpoint. `false`: the thread has ended.
    fn begin(&mut self) -> bool {
        self.busy = self.requests.as_ref().is_some_and(|requests| requests.try_send(()).is_ok());
        self.busy
    }

    fn is_busy(&mut self) -> bool {
        self.busy = self.busy && matches!(self.done.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
        self.busy
    }

    /// Waits for the end of the requested checkpoint.
    fn wait(&mut self) {
        if std::mem::take(&mut self.busy) {
            // an error means that the thread has ended: then there is nothing to wait for
            self.done.recv().ok();
        }
    }
}

impl Drop for Checkpointer {
    /// Waits for the thread, so that the writer's connection is the last one that is closed.
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Connection, Wal) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mgx.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE words (word TEXT);
                 CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT)",
            )
            .unwrap();
        let wal = Wal::start(path, CHECKPOINT_INTERVAL, || ()).unwrap();
        (directory, connection, wal)
    }

    /// About `pages` pages, in commits of 100.
    fn write(connection: &Connection, wal: &mut Wal, pages: usize) -> i64 {
        let (word, mut longest) = ("x".repeat(3_000), 0);
        for _ in 0..pages / 100 {
            let transaction = connection.unchecked_transaction().unwrap();
            for _ in 0..100 {
                transaction.execute("INSERT INTO words VALUES (?1)", [&word]).unwrap();
            }
            transaction.commit().unwrap();
            longest = longest.max(Length::of(connection).unwrap().pages);
            wal.checkpoint_if_due(connection).unwrap();
        }
        longest
    }

    #[test]
    fn the_log_restarts_while_it_is_written() {
        let (_directory, connection, mut wal) = store();
        let longest = write(&connection, &mut wal, 60_000);
        assert!((CHECKPOINT_PAGES..MAX_PAGES + 200).contains(&longest), "it was {longest} pages long");
        let count: i64 = connection.query_one("SELECT count(*) FROM words", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 60_000);
    }

    #[test]
    fn a_long_query_only_makes_the_log_longer() {
        let (directory, connection, mut wal) = store();
        let reader = Connection::open(directory.path().join("mgx.db")).unwrap();
        let reading = reader.unchecked_transaction().unwrap();
        let seen =
            |db: &Connection| db.query_one("SELECT count(*) FROM words", [], |row| row.get::<_, i64>(0));
        assert_eq!(seen(&reading).unwrap(), 0);
        assert!(write(&connection, &mut wal, 40_000) > MAX_PAGES);
        assert_eq!(seen(&reading).unwrap(), 0, "the query sees the state at its beginning");
        drop(reading);
        write(&connection, &mut wal, 10_000);
        assert!(Length::of(&connection).unwrap().pages < MAX_PAGES, "it is short again");
    }

    #[test]
    fn without_the_thread_the_writer_makes_the_checkpoints() {
        let (_directory, connection, mut wal) = store();
        drop(wal.checkpointer.requests.take());
        wal.checkpointer.thread.take().unwrap().join().unwrap();
        assert!(write(&connection, &mut wal, 20_000) < MAX_PAGES);
    }

    /// What a program sees that has copied the file of the database and not its log: while pages are moved, even a damaged
    /// database.
    fn alone(directory: &tempfile::TempDir) -> (bool, i64) {
        let copy = directory.path().join("copy.db");
        std::fs::copy(directory.path().join("mgx.db"), &copy).unwrap();
        let copy = Connection::open(copy).unwrap();
        let count = copy.query_one("SELECT count(*) FROM words", [], |row| row.get(0)).unwrap_or(-1);
        (log_marks::is_complete(&copy).unwrap_or(false), count)
    }

    #[test]
    fn the_database_alone_is_never_taken_for_the_whole_store() {
        let (directory, connection, mut wal) = store();
        wal.checkpoint_if_due(&connection).unwrap();
        assert_eq!(alone(&directory), (false, 0), "there is a log from the beginning on");
        for _ in 0..30 {
            write(&connection, &mut wal, 1_000);
            assert!(!alone(&directory).0, "during checkpoints too");
            assert!(log_marks::is_complete(&connection).unwrap() || wal.is_marked);
        }
    }

    #[test]
    fn a_short_log_is_moved_after_a_while() {
        let (directory, connection, mut wal) = store();
        wal.checkpoint_if_due(&connection).unwrap();
        write(&connection, &mut wal, 100);
        assert_eq!(alone(&directory), (false, 0), "not yet");
        wal.due = Instant::now();
        wal.checkpoint_if_due(&connection).unwrap();
        assert_eq!(alone(&directory), (false, 100));
        let length = Length::of(&connection).unwrap().pages;
        wal.due = Instant::now();
        wal.checkpoint_if_due(&connection).unwrap();
        assert_eq!(Length::of(&connection).unwrap().pages, length, "nothing new is not moved");
    }

    #[test]
    fn the_writer_is_woken_while_nothing_is_written() {
        let (directory, _connection, _) = store();
        let (woken, wakes) = sync_channel(1);
        let wake = move || woken.try_send(()).unwrap_or_default();
        let wal = Wal::start(directory.path().join("mgx.db"), Duration::from_millis(1), wake).unwrap();
        wakes.recv().unwrap();
        drop(wal);
    }
}
