//! Keeping the log short: what has been committed is moved from it into the database by a thread of its own.
//!
//! A commit only appends to the log and syncs it. Moving takes many times as long, so the writer has a helper that does
//! it meanwhile, and moves only the few pages that came after those by itself: then nothing is left in the log, and the
//! next commit begins it anew, in the space that it has on the disk already. If the helper cannot keep up, the writer
//! waits for it: the log has a bound.
//!
//! A move that fails is harmless, even if it was the fsync: what was not moved stays in the log, which is synced, and is
//! moved the next time.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OpenFlags};
use rustix::process::setpriority_process;

/// Pages in the log that make it worth moving them (64 MiB). Most pages are written again and again, and moved once; and
/// while they are, the disk has less time for commits.
const WORTHWHILE: i64 = 16_000;

/// Pages that the writer moves by itself: that takes it about a millisecond.
const FEW: i64 = 256;

/// Pages that the log may have before the writer waits. With their headers they fit into `journal_size_limit`.
const MOST: i64 = 32_000;

/// The helper's niceness: whoever waits for an answer comes first.
const NICENESS: i32 = 5;

/// The log, as the writer sees it.
#[derive(Debug)]
pub(crate) struct Log {
    helper: Helper,
    /// How many pages there are before something is done about it.
    next: i64,
}

/// How long the log is.
#[derive(Clone, Copy, Debug)]
struct Length {
    pages: i64,
    /// How many of them, from the first, are in the database as well.
    moved: i64,
}

impl Log {
    /// Starts the helper, for the store at `path`.
    pub(crate) fn start(path: PathBuf) -> std::io::Result<Self> {
        Ok(Self { helper: Helper::start(path)?, next: WORTHWHILE })
    }

    /// Keeps the log short; to be called after every commit, by the one who has made it on `writer`.
    pub(crate) fn tend(&mut self, writer: &Connection) -> rusqlite::Result<()> {
        let length = Length::of(writer)?;
        if length.pages < WORTHWHILE {
            self.next = WORTHWHILE;
        }
        if length.pages < self.next {
            return Ok(());
        }
        if length.pages >= MOST {
            self.helper.wait();
        } else if self.helper.is_busy() {
            return Ok(());
        }
        if length.pages < MOST && length.pages - length.moved > FEW && self.helper.begin() {
            return Ok(());
        }
        // whoever reads an old page may be in the way: then not before there is more to move
        self.next = length.pages + FEW;
        advance(writer)
    }
}

impl Length {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
            .query_one([], |row| Ok(Self { pages: row.get(1)?, moved: row.get(2)? }))
    }
}

/// Moves what nobody reads any more from the log into the database. Waits for nobody.
fn advance(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_one([], |_| Ok(()))
}

/// A thread that moves pages when it is told to.
#[derive(Debug)]
struct Helper {
    orders: Option<SyncSender<()>>,
    done: Receiver<()>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    fn start(path: PathBuf) -> std::io::Result<Self> {
        let (orders, to_do) = sync_channel(1);
        let (report, done) = sync_channel(1);
        let thread = thread::Builder::new().name("mgx-store-log".into()).spawn(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            setpriority_process(None, NICENESS).ok();
            let mut connection = None;
            while to_do.recv().is_ok() {
                let open = || Connection::open_with_flags(&path, flags);
                let moved = match connection.take().map_or_else(open, Ok) {
                    Ok(open) => advance(connection.insert(open)),
                    Err(error) => Err(error),
                };
                if let Err(error) = moved {
                    tracing::warn!(%error, "the log of the store could not be shortened, trying again");
                }
                if report.send(()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { orders: Some(orders), done, busy: false, thread: Some(thread) })
    }

    /// Tells it to begin. Whether it does: not if it has died.
    fn begin(&mut self) -> bool {
        self.busy = self.orders.as_ref().is_some_and(|orders| orders.try_send(()).is_ok());
        self.busy
    }

    fn is_busy(&mut self) -> bool {
        self.busy = self.busy && matches!(self.done.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
        self.busy
    }

    /// Waits until it has done what it was told.
    fn wait(&mut self) {
        if std::mem::take(&mut self.busy) {
            // it may have died: then there is nothing to wait for
            self.done.recv().ok();
        }
    }
}

impl Drop for Helper {
    /// Waits for the thread, so that the writer's connection is the last one that is closed.
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Connection, Log) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mgx.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE said (word TEXT)",
            )
            .unwrap();
        let log = Log::start(path).unwrap();
        (directory, connection, log)
    }

    /// About `pages` pages, in commits of 100.
    fn write(connection: &Connection, log: &mut Log, pages: usize) -> i64 {
        let (word, mut longest) = ("x".repeat(3_000), 0);
        for _ in 0..pages / 100 {
            let transaction = connection.unchecked_transaction().unwrap();
            for _ in 0..100 {
                transaction.execute("INSERT INTO said VALUES (?1)", [&word]).unwrap();
            }
            transaction.commit().unwrap();
            longest = longest.max(Length::of(connection).unwrap().pages);
            log.tend(connection).unwrap();
        }
        longest
    }

    #[test]
    fn the_log_begins_anew_while_it_is_written() {
        let (_directory, connection, mut log) = store();
        let longest = write(&connection, &mut log, 60_000);
        assert!((WORTHWHILE..MOST + 200).contains(&longest), "it was {longest} pages long");
        let count: i64 = connection.query_one("SELECT count(*) FROM said", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 60_000);
    }

    #[test]
    fn a_reader_in_the_way_only_makes_it_longer() {
        let (directory, connection, mut log) = store();
        let reader = Connection::open(directory.path().join("mgx.db")).unwrap();
        let reading = reader.unchecked_transaction().unwrap();
        let seen =
            |db: &Connection| db.query_one("SELECT count(*) FROM said", [], |row| row.get::<_, i64>(0));
        assert_eq!(seen(&reading).unwrap(), 0);
        assert!(write(&connection, &mut log, 40_000) > MOST);
        assert_eq!(seen(&reading).unwrap(), 0, "it reads what was there when it began");
        drop(reading);
        write(&connection, &mut log, 10_000);
        assert!(Length::of(&connection).unwrap().pages < MOST, "it is short again");
    }

    #[test]
    fn without_a_helper_the_writer_does_it() {
        let (_directory, connection, mut log) = store();
        drop(log.helper.orders.take());
        log.helper.thread.take().unwrap().join().unwrap();
        assert!(write(&connection, &mut log, 20_000) < MOST);
    }
}
