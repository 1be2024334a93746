//! The one writer: a thread that takes all changes that wait, puts them into one transaction, and answers when it
//! is on the disk.
//!
//! One fsync serves every change of a group, so the busier it gets the cheaper each becomes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use rustix::process::setpriority_process;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::Trouble;
use crate::lock::Lock;
use crate::log::Log;

/// How many changes may wait for their transaction.
const QUEUE: usize = 4096;

/// How many changes share one transaction.
const GROUP: usize = 1024;

/// How long a change waits for its transaction to begin.
const PATIENCE: Duration = Duration::from_secs(2);

/// The thread's niceness, where it may choose it: it works for a moment only, and everybody waits for it.
const NICENESS: i32 = -10;

/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(10);

/// The way to the writer thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Work>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    failure: watch::Sender<Option<String>>,
}

impl Writer {
    /// Starts the thread. The lock is released when the connection has been closed.
    pub(crate) fn start(connection: Connection, log: Log, lock: Lock) -> std::io::Result<Self> {
        let (queue, changes) = mpsc::channel(QUEUE);
        let failure = watch::Sender::new(None);
        let failed = failure.clone();
        let thread = thread::Builder::new().name("mgx-store".into()).spawn(move || {
            let ran = catch_unwind(AssertUnwindSafe(|| run(connection, log, changes, &failed)));
            if ran.is_err() {
                failed.send_replace(Some("the writer of the store has panicked".into()));
            }
            drop(lock);
        })?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), failure })
    }

    /// Makes one change durably. `change` reads first and decides; a refusal is a value like any other, and a change
    /// that refuses has written nothing. It may be made more than once, each time as if for the first time, and is
    /// dropped before its caller hears of it.
    ///
    /// A change that does not get its turn in time is taken back: nothing of it will happen. One that has begun is
    /// waited for, however long the disk takes: giving up then would leave open whether it happened.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, mut answer) = oneshot::channel();
        let taken = Arc::new(AtomicBool::new(false));
        let work = Change { taken: Arc::clone(&taken), make: change, result: None, reply };
        let patience = Instant::now() + PATIENCE;
        let queue = guard(&self.queue).clone().ok_or_else(gone)?;
        match timeout_at(patience, queue.send(Box::new(work))).await {
            Ok(sent) => sent.map_err(|_| gone())?,
            Err(_) => return Err(busy()),
        }
        drop(queue);
        match timeout_at(patience, &mut answer).await {
            Ok(answer) => answer.map_err(|_| gone())?,
            Err(_) if !taken.swap(true, Ordering::AcqRel) => Err(busy()),
            Err(_) => answer.await.map_err(|_| gone())?,
        }
    }

    /// Resolves when the store has broken, and says how.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let reason = failure.wait_for(Option::is_some).await.map(|reason| reason.clone().unwrap_or_default());
        match reason {
            Ok(reason) => reason,
            Err(_) => std::future::pending().await,
        }
    }

    /// Lets the thread finish what waits, and waits for its end.
    pub(crate) async fn close(&self) {
        drop(guard(&self.queue).take());
        let Some(thread) = guard(&self.thread).take() else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join());
        if timeout(CLOSING, joined).await.is_err() {
            tracing::warn!("the store is still writing: it is left to it");
        }
    }
}

impl Drop for Writer {
    /// Waits for the thread, so that whoever opens the store next finds it free.
    fn drop(&mut self) {
        drop(guard(&self.queue).take());
        if let Some(thread) = guard(&self.thread).take() {
            thread.join().ok();
        }
    }
}

/// The thread: groups until nobody can send any more, then a checkpoint.
fn run(
    mut connection: Connection,
    mut log: Log,
    mut changes: mpsc::Receiver<Box<dyn Work>>,
    failure: &watch::Sender<Option<String>>,
) {
    // on Linux it is of this thread alone; it is refused to all but root, which costs only time
    setpriority_process(None, NICENESS).ok();
    let mut group = Vec::with_capacity(GROUP);
    while changes.blocking_recv_many(&mut group, GROUP) > 0 {
        group.retain(|work| work.take());
        let broken = failure.borrow().clone();
        let committed = match broken {
            Some(reason) => Err(Trouble::Broken(reason)),
            None => commit(&mut connection, &mut group),
        };
        if let Err(trouble) = &committed {
            report(trouble, failure);
        }
        for work in group.drain(..) {
            work.reply(committed.clone());
        }
        // after the answers: nobody waits for it who need not
        if committed.is_ok()
            && let Err(error) = log.tend(&connection)
        {
            tracing::warn!(%error, "the log of the store could not be shortened, trying again");
        }
    }
    drop(log);
    close(connection, failure.borrow().is_some());
}

/// Moves what is in the log into the database; but what a broken disk still shows of the log is not to be trusted.
fn close(connection: Connection, broken: bool) {
    let closed = if broken {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(|_| ())
    } else {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    };
    if let Err(error) = closed.and_then(|()| connection.close().map_err(|(_, error)| error)) {
        tracing::warn!(%error, "the store was not closed well: the next start mends it");
    }
}

/// All of `group` in one transaction. A change that fails by its own fault is undone and spares its neighbours.
///
/// That is rare, and a savepoint for each change costs as much as the change: so the group is tried without, and once
/// more from the beginning if one has failed.
fn commit(connection: &mut Connection, group: &mut [Box<dyn Work>]) -> Result<(), Trouble> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match group.iter_mut().try_for_each(|work| work.apply(&transaction)) {
        Ok(()) => return Ok(transaction.commit()?),
        Err(error) if Trouble::is_of_the_disk(&error) => return Err(error.into()),
        Err(_) => transaction.rollback()?,
    }
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for work in group {
        let savepoint = transaction.savepoint()?;
        match work.apply(&savepoint) {
            Ok(()) => savepoint.commit()?,
            Err(error) if Trouble::is_of_the_disk(&error) => return Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "a change that cannot be stored");
                savepoint.finish()?;
            }
        }
    }
    Ok(transaction.commit()?)
}

fn report(trouble: &Trouble, failure: &watch::Sender<Option<String>>) {
    match trouble {
        Trouble::Full => tracing::warn!("the store is full: free some space"),
        Trouble::Unavailable(reason) => tracing::warn!(reason, "the store could not be written"),
        Trouble::Broken(reason) => {
            if failure.borrow().is_none() {
                tracing::error!(reason, "the store is broken: the process must start again");
                failure.send_replace(Some(format!("the store is broken: {reason}")));
            }
        }
    }
}

/// One change on its way, whatever it answers with.
trait Work: Send {
    /// Whether it is to be done: its caller still waits, and from now on must.
    fn take(&self) -> bool;
    /// Does it, inside a transaction.
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Answers, after the transaction.
    fn reply(self: Box<Self>, committed: Result<(), Trouble>);
}

struct Change<T, F> {
    /// Set by whichever comes first: the thread that begins it, or the caller that gives it up.
    taken: Arc<AtomicBool>,
    make: F,
    result: Option<Result<T, Trouble>>,
    reply: oneshot::Sender<Result<T, Trouble>>,
}

impl<T: Send, F: FnMut(&Connection) -> rusqlite::Result<T> + Send> Work for Change<T, F> {
    fn take(&self) -> bool {
        !self.reply.is_closed() && !self.taken.swap(true, Ordering::AcqRel)
    }

    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match (self.make)(connection) {
            Ok(value) => {
                self.result = Some(Ok(value));
                Ok(())
            }
            Err(error) => {
                self.result = Some(Err(Trouble::Unavailable(error.to_string())));
                Err(error)
            }
        }
    }

    fn reply(self: Box<Self>, committed: Result<(), Trouble>) {
        let Self { make, result, reply, .. } = *self;
        drop(make);
        let result = result.unwrap_or_else(|| Err(gone()));
        // the caller may have gone: its change is stored all the same
        reply.send(committed.and(result)).ok();
    }
}

impl fmt::Debug for dyn Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone() -> Trouble {
    Trouble::Unavailable("the store is closed".into())
}

fn busy() -> Trouble {
    Trouble::Unavailable("the disk is busy".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> (tempfile::TempDir, Writer) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mgx.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE said (word TEXT NOT NULL)")
            .unwrap();
        let lock = Lock::take(&path, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let log = Log::start(path).unwrap();
        (directory, Writer::start(connection, log, lock).unwrap())
    }

    fn say(db: &Connection, word: &str) -> rusqlite::Result<usize> {
        db.execute("INSERT INTO said VALUES (?1)", [word])
    }

    async fn said(writer: &Writer) -> String {
        let all = "SELECT coalesce(group_concat(word, ' ' ORDER BY rowid), '') FROM said";
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
            say(db, "held")
        });
        tokio::select! { _ = holding => panic!("it was not held"), begun = in_hand => begun.unwrap() }
        release
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_stored_is_undone_and_spares_its_neighbours() {
        let (_directory, writer) = writer();
        let release = hold(&writer).await;
        let impossible =
            |db: &Connection| say(db, "half").and_then(|_| db.execute("INSERT INTO said VALUES (NULL)", []));
        let (before, failed, after, ()) = tokio::join!(
            writer.write(|db| say(db, "before")),
            writer.write(impossible),
            writer.write(|db| say(db, "after")),
            async { drop(release) },
        );
        assert_eq!((before, after), (Ok(1), Ok(1)));
        assert!(matches!(&failed, Err(Trouble::Unavailable(why)) if why.contains("NOT NULL")), "{failed:?}");
        assert_eq!(said(&writer).await, "held before after");
    }

    #[tokio::test]
    async fn a_change_that_waits_too_long_is_taken_back() {
        let (_directory, writer) = writer();
        let release = hold(&writer).await;
        assert_eq!(writer.write(|db| say(db, "late")).await, Err(busy()));
        drop(release);
        assert_eq!(said(&writer).await, "held", "what was begun was done, what was given up was not");
    }

    #[tokio::test]
    async fn a_change_that_panics_breaks_the_store_and_says_so() {
        let (_directory, writer) = writer();
        let panicking = writer.write(|_| -> rusqlite::Result<()> { panic!("a mistake of ours") });
        assert_eq!(panicking.await, Err(gone()));
        assert_eq!(writer.failed().await, "the writer of the store has panicked");
    }

    #[tokio::test]
    async fn closing_finishes_what_waits() {
        let (_directory, writer) = writer();
        let release = hold(&writer).await;
        let (written, (), ()) =
            tokio::join!(writer.write(|db| say(db, "last")), writer.close(), async { drop(release) });
        assert_eq!(written, Ok(1));
        assert_eq!(writer.write(|db| say(db, "too late")).await, Err(gone()));
    }
}
