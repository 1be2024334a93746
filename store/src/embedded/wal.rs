//! The write-ahead log, kept short by checkpoints: a thread moves committed pages from the log into the database.
//!
//! A commit only appends to the log and syncs it. A checkpoint takes many times as long, so a thread does most of it while
//! the writer goes on, and the writer itself moves only the few pages that were added meanwhile. Then the log is empty,
//! and the next commit starts it again in the space that it has on the disk already. If the thread cannot keep up, the
//! writer waits for it, so the log is bounded.
//!
//! A checkpoint that fails does no harm, even if its fsync failed: pages that were not moved stay in the log, which is
//! synced, and are moved by the next checkpoint.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use rustix::process::setpriority_process;

use crate::embedded::connection::open_for_writing;

/// Pages in the log at which a checkpoint begins (64 MiB). Most pages are written many times and moved once, so fewer
/// checkpoints leave the disk more time for commits.
const CHECKPOINT_PAGES: i64 = 16_000;

/// Pages that the writer moves itself, in about a millisecond.
const WRITER_PAGES: i64 = 256;

/// Pages in the log at which the writer waits for the thread. With their headers they fit into `journal_size_limit`.
const MAX_PAGES: i64 = 32_000;

/// The niceness of the thread: callers that wait for a reply come first.
const NICENESS: i32 = 5;

/// The write-ahead log, owned by the writer.
#[derive(Debug)]
pub(crate) struct Wal {
    checkpointer: Checkpointer,
    /// Pages in the log at which the next checkpoint is tried.
    next: i64,
}

/// How long the log is.
#[derive(Clone, Copy, Debug)]
struct Length {
    pages: i64,
    /// How many of them, from the first, are in the database already.
    checkpointed: i64,
}

impl Wal {
    /// Starts the thread for the store at `path`.
    pub(crate) fn start(path: PathBuf) -> std::io::Result<Self> {
        Ok(Self { checkpointer: Checkpointer::start(path)?, next: CHECKPOINT_PAGES })
    }

    /// Moves pages from the log into the database if the log is long. The writer calls this after every commit, with its
    /// own connection.
    pub(crate) fn checkpoint_if_long(&mut self, writer: &Connection) -> rusqlite::Result<()> {
        let length = Length::of(writer)?;
        if length.pages < CHECKPOINT_PAGES {
            self.next = CHECKPOINT_PAGES;
        }
        if length.pages < self.next {
            return Ok(());
        }
        if length.pages >= MAX_PAGES {
            self.checkpointer.wait();
        } else if self.checkpointer.is_busy() {
            return Ok(());
        }
        if length.pages < MAX_PAGES
            && length.pages - length.checkpointed > WRITER_PAGES
            && self.checkpointer.begin()
        {
            return Ok(());
        }
        // a query that reads an old page may prevent the checkpoint: the next is tried when there are more pages
        self.next = length.pages + WRITER_PAGES;
        checkpoint(writer)
    }
}

impl Length {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
            .query_one([], |row| Ok(Self { pages: row.get(1)?, checkpointed: row.get(2)? }))
    }
}

/// Moves pages that no query reads any more from the log into the database. Waits for no query.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_one([], |_| Ok(()))
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
    fn start(path: PathBuf) -> std::io::Result<Self> {
        let (requests, requested) = sync_channel(1);
        let (report, done) = sync_channel(1);
        let thread = thread::Builder::new().name("mgx-store-log".into()).spawn(move || {
            setpriority_process(None, NICENESS).ok();
            let mut connection = None;
            while requested.recv().is_ok() {
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
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE words (word TEXT)",
            )
            .unwrap();
        let wal = Wal::start(path).unwrap();
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
            wal.checkpoint_if_long(connection).unwrap();
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
}
