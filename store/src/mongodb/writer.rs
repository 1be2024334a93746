//! The writer of jobs and events: a task that commits all queued entries in one transaction and replies when a majority of
//! the servers has it on disk.
//!
//! Every transaction begins with a write to the fence, under the epoch that this process leads in. So a process that has
//! lost the lease writes nothing any more; and the mark that a transaction leaves in the fence tells afterwards whether
//! it was committed, even if the connection was lost.

mod abort;
mod group_plan;
mod group_write;
pub(crate) mod session_task;
mod transaction;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mgx_scheduler::{Entry, Event, JournalError};
use mongodb::Database;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::change_queue::{ChangeQueue, Reply};
use crate::error::Failure;
use crate::fatal::FatalSignal;
use crate::mongodb::lease::{self, HeldLease};
use crate::mongodb::writer::group_plan::{Fenced, WriterCache, numbered};
use crate::mongodb::writer::session_task::SessionTask;
use crate::mongodb::writer::transaction::{TransactionError, Transactions};

/// How many changes are taken from the queue at once.
const GROUP: usize = 512;

/// How many events a transaction has at most, if its last entry does not bring more.
const MAX_EVENTS: usize = 2048;

/// How long closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The reason that a process gives that has lost the lease.
const LEASE_LOST: &str = "another process schedules now: this one has to start again";

/// How many items the writer caches; when there are more, it drops all of them and reads again.
const MAX_CACHED: usize = 50_000;

/// The handle of the writer task.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: ChangeQueue<Change>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// The reply to an entry: its events as they are stored.
type EntryReply = Reply<Result<Vec<Event>, JournalError>>;

/// A queued change.
#[derive(Debug)]
enum Change {
    /// An entry of the journal.
    Entry(Box<Entry>, EntryReply),
    /// A change to one session as a whole.
    Session(SessionTask, Reply<Result<usize, Failure>>),
}

impl Writer {
    /// Starts the task of the process that holds the lease. When the lease is lost, `fatal` is set.
    pub(crate) fn start(db: Database, lease: HeldLease, fatal: FatalSignal) -> Self {
        let (queue, changes) = ChangeQueue::new("the MongoDB server does not answer");
        let renewal = tokio::spawn({
            let (db, epoch, fatal) = (db.clone(), lease.epoch, fatal.clone());
            async move {
                lease::renew_until_lost(&db, epoch).await;
                lease_lost(&fatal);
            }
        });
        let task = Task {
            db: db.clone(),
            epoch: lease.epoch,
            renewal: AbortOnDropHandle::new(renewal),
            transactions: Transactions::new(db, lease),
            cache: WriterCache::default(),
            fatal,
        };
        Self { queue, task: Mutex::new(Some(tokio::spawn(task.run(changes)))) }
    }

    /// Writes an entry durably.
    pub(crate) async fn write(&self, entry: Entry) -> Result<Vec<Event>, JournalError> {
        self.queue.submit(|reply| Change::Entry(Box::new(entry), reply)).await?
    }

    /// Changes one session as a whole. How many sessions or events were changed, see [`SessionTask`].
    pub(crate) async fn change_session(&self, task: SessionTask) -> Result<usize, Failure> {
        self.queue.submit(|reply| Change::Session(task, reply)).await?
    }

    /// Lets the task commit the queued changes and release the lease, and waits for its end.
    pub(crate) async fn close(&self) {
        self.queue.close();
        let Some(task) = self.task().take() else { return };
        if timeout(CLOSE_TIMEOUT, task).await.is_err() {
            tracing::warn!("the MongoDB server takes too long; the last writes are not waited for");
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task.
struct Task {
    db: Database,
    epoch: i64,
    /// Renews the lease while this task lives.
    renewal: AbortOnDropHandle<()>,
    transactions: Transactions,
    cache: WriterCache,
    fatal: FatalSignal,
}

impl Task {
    /// Commits groups until the queue is closed and empty.
    async fn run(mut self, mut changes: mpsc::Receiver<Change>) {
        let mut queued: Vec<Change> = Vec::with_capacity(GROUP);
        while changes.recv_many(&mut queued, GROUP).await > 0 {
            let mut entries = Vec::new();
            for change in queued.drain(..) {
                match change {
                    Change::Entry(entry, reply) => {
                        if reply.begin() {
                            entries.push((entry, reply));
                        }
                    }
                    Change::Session(task, reply) => {
                        if reply.begin() {
                            self.write(std::mem::take(&mut entries)).await;
                            reply.send(self.change_session(&task).await);
                        }
                    }
                }
                if entries.iter().map(|(entry, _)| entry.events.len()).sum::<usize>() >= MAX_EVENTS {
                    self.write(std::mem::take(&mut entries)).await;
                }
            }
            self.write(entries).await;
        }
        drop(self.renewal);
        if self.fatal.reason().is_none() {
            lease::release(&self.db, self.epoch).await;
        }
    }

    async fn write(&mut self, entries: Vec<(Box<Entry>, EntryReply)>) {
        if entries.is_empty() {
            return;
        }
        let group: Vec<&Entry> = entries.iter().map(|(entry, _)| &**entry).collect();
        let results = self.record(&group).await;
        for ((entry, reply), result) in entries.into_iter().zip(results) {
            let Entry { session, job: _, events } = *entry;
            reply.send(result.map(|numbers| numbered(&session, events, numbers)));
        }
    }

    /// Stores all of `group` in one transaction. An entry that cannot be stored by its own failure does not affect the
    /// others: the group is tried once as a whole, and then entry by entry.
    async fn record(&mut self, group: &[&Entry]) -> Vec<Result<Vec<Option<u64>>, JournalError>> {
        match self.commit(group).await {
            Ok(results) => results.into_iter().map(journal_result).collect(),
            Err(Refused::All(failure)) => group.iter().map(|_| Err(failure.clone().into())).collect(),
            Err(Refused::Some(_)) if group.len() > 1 => {
                let mut results = Vec::with_capacity(group.len());
                for entry in group {
                    results.push(match self.commit(&[entry]).await {
                        Ok(single) => single
                            .into_iter()
                            .map(journal_result)
                            .next()
                            .unwrap_or_else(|| Err(Failure::closed().into())),
                        Err(refused) => Err(refused.failure().into()),
                    });
                }
                results
            }
            Err(Refused::Some(failure)) => vec![Err(failure.into())],
        }
    }

    async fn commit(&mut self, group: &[&Entry]) -> Result<Vec<Result<Vec<Option<u64>>, Fenced>>, Refused> {
        if let Some(reason) = self.fatal.reason() {
            return Err(Refused::All(Failure::Unavailable(reason)));
        }
        if self.cache.len() > MAX_CACHED {
            self.cache.clear();
        }
        let written = self.transactions.write(group, &mut self.cache).await;
        if written.is_err() {
            self.cache.clear();
        }
        self.check_lease(written)
    }

    async fn change_session(&mut self, task: &SessionTask) -> Result<usize, Failure> {
        if let Some(reason) = self.fatal.reason() {
            return Err(Failure::Unavailable(reason));
        }
        self.cache.clear();
        let done = self.transactions.change_session(task).await;
        self.check_lease(done).map_err(Refused::failure)
    }

    /// Logs an error of a transaction, and sets the fatal signal if the lease is lost.
    fn check_lease<T>(&self, result: Result<T, TransactionError>) -> Result<T, Refused> {
        result.map_err(|error| match error {
            TransactionError::LeaseLost => {
                lease_lost(&self.fatal);
                Refused::All(Failure::Unavailable(LEASE_LOST.to_owned()))
            }
            TransactionError::Unreachable(failure) => {
                tracing::warn!(?failure, "cannot write the MongoDB server");
                Refused::All(failure)
            }
            TransactionError::Rejected(failure) => {
                tracing::error!(?failure, "an entry cannot be stored");
                Refused::Some(failure)
            }
        })
    }
}

fn lease_lost(fatal: &FatalSignal) {
    if fatal.set(LEASE_LOST) {
        tracing::error!(reason = LEASE_LOST, "the lease is lost");
    }
}

/// Why a group was not stored.
enum Refused {
    /// For a reason that concerns all entries.
    All(Failure),
    /// Perhaps because of one entry.
    Some(Failure),
}

impl Refused {
    fn failure(self) -> Failure {
        match self {
            Self::All(failure) | Self::Some(failure) => failure,
        }
    }
}

fn journal_result(result: Result<Vec<Option<u64>>, Fenced>) -> Result<Vec<Option<u64>>, JournalError> {
    result.map_err(|Fenced| JournalError::Fenced)
}
