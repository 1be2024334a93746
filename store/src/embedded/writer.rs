//! The writer of the embedded store: a thread that commits all queued changes in one transaction and replies when it is
//! on the disk.

mod health;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use rustix::process::setpriority_process;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::change_queue::{ChangeQueue, Reply};
use crate::embedded::lock::Lock;
use crate::embedded::sqlite_error::fails_transaction;
use crate::embedded::wal::{CHECKPOINT_INTERVAL, Wal, log_marks};
use crate::embedded::writer::health::Health;
use crate::error::Failure;
use crate::fatal::FatalSignal;

/// How many changes share one transaction.
const GROUP: usize = 1024;

/// The niceness of the thread, if the process may set it: every caller waits for the thread, which works in short bursts.
const NICENESS: i32 = -10;

/// How long closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The handle of the writer thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: ChangeQueue<Box<dyn Change>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    fatal: FatalSignal,
    health: Health,
}

impl Writer {
    /// Starts the thread. The lock is released when the connection has been closed.
    pub(crate) fn start(connection: Connection, path: PathBuf, lock: Lock) -> std::io::Result<Self> {
        let (queue, changes) = ChangeQueue::<Box<dyn Change>>::new("the disk is busy");
        let wal = Wal::start(path, CHECKPOINT_INTERVAL, queue.waker(|| Box::new(NoChange)))?;
        let fatal = FatalSignal::new();
        let (signal, health) = (fatal.clone(), Health::default());
        let noted = health.clone();
        let thread = thread::Builder::new().name("mgx-store".into()).spawn(move || {
            let ran = catch_unwind(AssertUnwindSafe(|| run(connection, wal, changes, &signal, &noted)));
            if ran.is_err() {
                signal.set("the writer of the store has panicked");
            }
            drop(lock);
        })?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)), fatal, health })
    }

    /// Makes one change durably. `change` reads first and decides; a refusal is a value like any other, and a change
    /// that refuses has written nothing. `change` may be called more than once, each time as if for the first time, and
    /// is dropped before its caller gets the result.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.queue
            .submit(|reply| -> Box<dyn Change> {
                Box::new(QueuedChange { apply: change, result: None, reply })
            })
            .await?
    }

    /// How the last write ended.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Resolves when the store is broken, with the reason.
    pub(crate) async fn failed(&self) -> String {
        self.fatal.wait().await
    }

    /// Lets the thread commit the queued changes, and waits for its end.
    pub(crate) async fn close(&self) {
        self.queue.close();
        let Some(thread) = self.thread().take() else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join());
        if timeout(CLOSE_TIMEOUT, joined).await.is_err() {
            tracing::warn!("the store is still writing and is not waited for any longer");
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writer {
    /// Waits for the thread, so that the store is free to be opened again.
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread().take() {
            thread.join().ok();
        }
    }
}

/// The thread: commits groups until the queue is closed and empty, then checkpoints and closes the connection.
fn run(
    mut connection: Connection,
    mut wal: Wal,
    mut changes: mpsc::Receiver<Box<dyn Change>>,
    fatal: &FatalSignal,
    health: &Health,
) {
    // on Linux this is the niceness of this thread alone; only root may lower it, and without it writes are slower
    setpriority_process(None, NICENESS).ok();
    // so that the database alone is known to be only a part of the store, from the first write on
    checkpoint_if_due(&mut wal, &connection, fatal);
    let mut group = Vec::with_capacity(GROUP);
    while changes.blocking_recv_many(&mut group, GROUP) > 0 {
        group.retain(|change| change.begin());
        let rows = connection.total_changes();
        let committed = match fatal.reason() {
            Some(reason) => Err(Failure::Broken(reason)),
            None => commit(&mut connection, &mut group),
        };
        match &committed {
            Err(failure) => {
                health.failed();
                report(failure, fatal);
            }
            Ok(()) if connection.total_changes() > rows => health.written(),
            Ok(()) => {}
        }
        for change in group.drain(..) {
            change.reply(committed.clone());
        }
        // after the replies, so that no caller waits for it
        if committed.is_ok() {
            checkpoint_if_due(&mut wal, &connection, fatal);
        }
    }
    drop(wal);
    close(connection, fatal.reason().is_some());
}

fn checkpoint_if_due(wal: &mut Wal, connection: &Connection, fatal: &FatalSignal) {
    if let Err(failure) = wal.checkpoint_if_due(connection) {
        report(&failure, fatal);
    }
}

/// Moves the write-ahead log into the database, unless the store is broken: what a failed disk returns of the log cannot
/// be trusted.
fn close(connection: Connection, broken: bool) {
    let marked = if broken { Ok(()) } else { log_marks::note_present(&connection).map_err(Failure::from) };
    let closed = if broken || matches!(marked, Err(Failure::Broken(_))) {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(|_| ())
    } else {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    };
    if let Err(error) = closed.and_then(|()| connection.close().map_err(|(_, error)| error)) {
        tracing::warn!(%error, "the store was not closed cleanly; the next start recovers it");
    }
}

/// Makes all changes of `group` in one transaction. A change that fails by its own fault is undone and does not affect
/// the others.
///
/// That is rare, and a savepoint for each change costs as much as the change. So the group is tried without savepoints
/// first, and once more with them if a change has failed.
fn commit(connection: &mut Connection, group: &mut [Box<dyn Change>]) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match group.iter_mut().try_for_each(|change| change.apply(&transaction)) {
        Ok(()) => return Ok(transaction.commit()?),
        Err(error) if fails_transaction(&error) => return Err(error.into()),
        Err(_) => transaction.rollback()?,
    }
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in group {
        let savepoint = transaction.savepoint()?;
        match change.apply(&savepoint) {
            Ok(()) => savepoint.commit()?,
            Err(error) if fails_transaction(&error) => return Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "a change cannot be stored");
                savepoint.finish()?;
            }
        }
    }
    Ok(transaction.commit()?)
}

fn report(failure: &Failure, fatal: &FatalSignal) {
    match failure {
        Failure::Full => tracing::warn!("the store is full: free some space"),
        Failure::Unavailable(reason) => tracing::warn!(reason, "cannot write the store"),
        Failure::Broken(reason) => {
            if fatal.set(&format!("the store is broken: {reason}")) {
                tracing::error!(reason, "the store is broken: the process must start again");
            }
        }
    }
}

/// A queued change, whatever the type of its result.
trait Change: Send {
    /// Whether the change is to be made; see [`Reply::begin`].
    fn begin(&self) -> bool;
    /// Makes the change inside a transaction.
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Sends the result after the transaction.
    fn reply(self: Box<Self>, committed: Result<(), Failure>);
}

struct QueuedChange<T, F> {
    apply: F,
    result: Option<Result<T, Failure>>,
    reply: Reply<Result<T, Failure>>,
}

impl<T: Send, F: FnMut(&Connection) -> rusqlite::Result<T> + Send> Change for QueuedChange<T, F> {
    fn begin(&self) -> bool {
        self.reply.begin()
    }

    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match (self.apply)(connection) {
            Ok(value) => {
                self.result = Some(Ok(value));
                Ok(())
            }
            Err(error) => {
                self.result = Some(Err(Failure::Unavailable(error.to_string())));
                Err(error)
            }
        }
    }

    fn reply(self: Box<Self>, committed: Result<(), Failure>) {
        let Self { apply, result, reply } = *self;
        drop(apply);
        reply.send(committed.and(result.unwrap_or_else(|| Err(Failure::closed()))));
    }
}

/// Makes the writer look whether a checkpoint is due.
struct NoChange;

impl Change for NoChange {
    fn begin(&self) -> bool {
        true
    }

    fn apply(&mut self, _connection: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn reply(self: Box<Self>, _committed: Result<(), Failure>) {}
}

impl fmt::Debug for dyn Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn writer() -> (tempfile::TempDir, Writer) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mgx.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE words (word TEXT NOT NULL);
                 CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT)",
            )
            .unwrap();
        let lock = Lock::take(&path, jiff::Timestamp::UNIX_EPOCH).unwrap();
        (directory, Writer::start(connection, path, lock).unwrap())
    }

    fn add(db: &Connection, word: &str) -> rusqlite::Result<usize> {
        db.execute("INSERT INTO words VALUES (?1)", [word])
    }

    async fn words(writer: &Writer) -> String {
        let all = "SELECT coalesce(group_concat(word, ' ' ORDER BY rowid), '') FROM words";
        writer.write(move |db| db.query_row(all, [], |row| row.get(0))).await.unwrap()
    }

    /// Keeps the thread busy, inside a transaction, until the sender is dropped.
    async fn hold(writer: &Writer) -> std::sync::mpsc::Sender<()> {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (started, in_hand) = oneshot::channel();
        let mut started = Some(started);
        let holding = writer.write(move |db| {
            started.take().map(|started| started.send(()));
            held.recv().ok();
            add(db, "held")
        });
        tokio::select! { _ = holding => panic!("it was not held"), begun = in_hand => begun.unwrap() }
        release
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_stored_is_undone_and_does_not_affect_the_others() {
        let (_directory, writer) = writer();
        let release = hold(&writer).await;
        let impossible =
            |db: &Connection| add(db, "half").and_then(|_| db.execute("INSERT INTO words VALUES (NULL)", []));
        let (before, failed, after, ()) = tokio::join!(
            writer.write(|db| add(db, "before")),
            writer.write(impossible),
            writer.write(|db| add(db, "after")),
            async { drop(release) },
        );
        assert_eq!((before, after), (Ok(1), Ok(1)));
        assert!(matches!(&failed, Err(Failure::Unavailable(why)) if why.contains("NOT NULL")), "{failed:?}");
        assert_eq!(words(&writer).await, "held before after");
    }

    #[tokio::test]
    async fn a_change_that_waits_too_long_is_withdrawn() {
        let (_directory, writer) = writer();
        let release = hold(&writer).await;
        assert_eq!(writer.write(|db| add(db, "late")).await, Err(writer.queue.busy()));
        drop(release);
        assert_eq!(
            words(&writer).await,
            "held",
            "the change that began was made, the one that was withdrawn was not"
        );
    }

    #[tokio::test]
    async fn a_change_that_panics_breaks_the_store() {
        let (_directory, writer) = writer();
        let panicking = writer.write(|_| -> rusqlite::Result<()> { panic!("a bug") });
        assert_eq!(panicking.await, Err(Failure::closed()));
        assert_eq!(writer.failed().await, "the writer of the store has panicked");
    }

    #[tokio::test]
    async fn closing_commits_the_queued_changes() {
        let (_directory, writer) = writer();
        let release = hold(&writer).await;
        let (written, (), ()) =
            tokio::join!(writer.write(|db| add(db, "last")), writer.close(), async { drop(release) });
        assert_eq!(written, Ok(1));
        assert_eq!(writer.write(|db| add(db, "too late")).await, Err(Failure::closed()));
    }
}
