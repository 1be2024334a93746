//! The one writer of jobs and events: a task that takes all entries that wait, puts them into one transaction, and
//! answers when a majority of the servers has it on disk.
//!
//! Every transaction begins by writing the fence, under the epoch that this process leads in. So a process that has been
//! succeeded writes nothing any more, whatever it believes; and what a transaction has left in the fence says afterwards
//! whether it was committed, whatever became of the connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mgx_scheduler::{Entry, Event, JournalError};
use mongodb::Database;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::error::Fault;
use super::housework::Housework;
use super::lease::{self, Held};
use super::plan::{Fenced, Known, numbered};
use super::transaction::{Failed, Transactions};

/// How many entries may wait for their transaction.
const QUEUE: usize = 4096;

/// How many entries share one transaction.
const GROUP: usize = 512;

/// How many events a transaction has, if its last entry does not bring more.
const EVENTS: usize = 2048;

/// How long an entry waits for its transaction to begin.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(10);

/// What a process says that was succeeded.
const SUCCEEDED: &str = "another process schedules now: this one has to start again";

/// How much the writer keeps in mind; when it is more, it forgets everything and reads again.
const KNOWN: usize = 50_000;

/// The way to the writer task.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Change>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Where the events of an entry go when they are stored.
type Reply = oneshot::Sender<Result<Vec<Event>, JournalError>>;

/// Something to be written.
#[derive(Debug)]
struct Change {
    /// Set by whichever comes first: the task that begins it, or the caller that gives it up.
    taken: Arc<AtomicBool>,
    what: What,
}

#[derive(Debug)]
enum What {
    Write(Box<Entry>, Reply),
    KeepHouse(Housework, oneshot::Sender<Result<usize, Fault>>),
}

impl Writer {
    /// Starts the task of the process that holds the lease. What ends it before its time is told to `failure`.
    pub(super) fn start(db: Database, held: Held, failure: watch::Sender<Option<String>>) -> Self {
        let (queue, changes) = mpsc::channel(QUEUE);
        let keeping = tokio::spawn({
            let (db, epoch, failure) = (db.clone(), held.epoch, failure.clone());
            async move {
                lease::keep(&db, epoch).await;
                succeeded(&failure);
            }
        });
        let task = Task {
            db: db.clone(),
            epoch: held.epoch,
            keeping: AbortOnDropHandle::new(keeping),
            transactions: Transactions::new(db, held),
            known: Known::default(),
            failure,
        };
        Self { queue: Mutex::new(Some(queue)), task: Mutex::new(Some(tokio::spawn(task.run(changes)))) }
    }

    /// Writes an entry durably.
    pub(super) async fn write(&self, entry: Entry) -> Result<Vec<Event>, JournalError> {
        self.change(|reply| What::Write(Box::new(entry), reply)).await?
    }

    /// Does something with one session: how many of what it is about there were.
    pub(super) async fn keep_house(&self, work: Housework) -> Result<usize, Fault> {
        self.change(|reply| What::KeepHouse(work, reply)).await?
    }

    /// A change that does not get its turn in time is taken back: nothing of it will happen. One that has begun is
    /// waited for, however long the server is away: giving up then would leave open whether it happened.
    async fn change<T>(&self, what: impl FnOnce(oneshot::Sender<T>) -> What) -> Result<T, Fault> {
        let (reply, mut answer) = oneshot::channel();
        let taken = Arc::new(AtomicBool::new(false));
        let change = Change { taken: taken.clone(), what: what(reply) };
        let patience = Instant::now() + PATIENCE;
        let queue = guard(&self.queue).clone().ok_or_else(gone)?;
        match timeout_at(patience, queue.send(change)).await {
            Ok(sent) => sent.map_err(|_| gone())?,
            Err(_) => return Err(Fault::late()),
        }
        drop(queue);
        match timeout_at(patience, &mut answer).await {
            Ok(answer) => answer.map_err(|_| gone()),
            Err(_) if !taken.swap(true, Ordering::AcqRel) => Err(Fault::late()),
            Err(_) => answer.await.map_err(|_| gone()),
        }
    }

    /// Lets the task finish what waits and give the lease back, and waits for its end.
    pub(super) async fn close(&self) {
        drop(guard(&self.queue).take());
        let Some(task) = guard(&self.task).take() else { return };
        if timeout(CLOSING, task).await.is_err() {
            tracing::warn!("the MongoDB server takes too long: what is being written is left to it");
        }
    }
}

/// The task.
struct Task {
    db: Database,
    epoch: i64,
    /// Moves the lease while this task lives.
    keeping: AbortOnDropHandle<()>,
    transactions: Transactions,
    known: Known,
    failure: watch::Sender<Option<String>>,
}

impl Task {
    /// Groups until nobody can send any more.
    async fn run(mut self, mut changes: mpsc::Receiver<Change>) {
        let mut waiting: Vec<Change> = Vec::with_capacity(GROUP);
        while changes.recv_many(&mut waiting, GROUP).await > 0 {
            let mut entries = Vec::new();
            for change in waiting.drain(..) {
                if change.taken.swap(true, Ordering::AcqRel) {
                    continue;
                }
                match change.what {
                    What::Write(entry, reply) => entries.push((entry, reply)),
                    What::KeepHouse(work, reply) => {
                        self.write(std::mem::take(&mut entries)).await;
                        reply.send(self.keep_house(&work).await).ok();
                    }
                }
                if entries.iter().map(|(entry, _)| entry.events.len()).sum::<usize>() >= EVENTS {
                    self.write(std::mem::take(&mut entries)).await;
                }
            }
            self.write(entries).await;
        }
        drop(self.keeping);
        if self.failure.borrow().is_none() {
            lease::release(&self.db, self.epoch).await;
        }
    }

    async fn write(&mut self, entries: Vec<(Box<Entry>, Reply)>) {
        if entries.is_empty() {
            return;
        }
        let group: Vec<&Entry> = entries.iter().map(|(entry, _)| &**entry).collect();
        let answers = self.record(&group).await;
        for ((entry, reply), answer) in entries.into_iter().zip(answers) {
            let Entry { session, job: _, events } = *entry;
            let stored = answer.map(|numbers| numbered(&session, events, numbers));
            // the caller may have gone: its entry is stored all the same
            reply.send(stored).ok();
        }
    }

    /// All of `group` in one transaction. An entry that cannot be stored by its own fault spares its neighbours: the
    /// group is tried once, and then one by one.
    async fn record(&mut self, group: &[&Entry]) -> Vec<Result<Vec<Option<u64>>, JournalError>> {
        match self.commit(group).await {
            Ok(answers) => answers.into_iter().map(told).collect(),
            Err(Refused::All(fault)) => group.iter().map(|_| Err(fault.clone().into())).collect(),
            Err(Refused::Some(_)) if group.len() > 1 => {
                let mut answers = Vec::with_capacity(group.len());
                for entry in group {
                    answers.push(match self.commit(&[entry]).await {
                        Ok(answers) => {
                            answers.into_iter().map(told).next().unwrap_or_else(|| Err(gone().into()))
                        }
                        Err(refused) => Err(refused.fault().into()),
                    });
                }
                answers
            }
            Err(Refused::Some(fault)) => vec![Err(fault.into())],
        }
    }

    async fn commit(&mut self, group: &[&Entry]) -> Result<Vec<Result<Vec<Option<u64>>, Fenced>>, Refused> {
        if let Some(reason) = self.failure.borrow().clone() {
            return Err(Refused::All(Fault::Unavailable(reason)));
        }
        if self.known.len() > KNOWN {
            self.known.clear();
        }
        let written = self.transactions.write(group, &mut self.known).await;
        if written.is_err() {
            self.known.clear();
        }
        self.heed(written)
    }

    async fn keep_house(&mut self, work: &Housework) -> Result<usize, Fault> {
        if let Some(reason) = self.failure.borrow().clone() {
            return Err(Fault::Unavailable(reason));
        }
        self.known.clear();
        let done = self.transactions.keep_house(work).await;
        self.heed(done).map_err(Refused::fault)
    }

    /// Ends everything if somebody else leads.
    fn heed<T>(&self, done: Result<T, Failed>) -> Result<T, Refused> {
        done.map_err(|failed| match failed {
            Failed::Succeeded => {
                succeeded(&self.failure);
                Refused::All(Fault::Unavailable(SUCCEEDED.to_owned()))
            }
            Failed::Away(fault) => {
                tracing::warn!(?fault, "the MongoDB server could not be written");
                Refused::All(fault)
            }
            Failed::Wrong(fault) => {
                tracing::error!(?fault, "an entry that cannot be stored");
                Refused::Some(fault)
            }
        })
    }
}

/// Ends everything, for somebody else leads.
fn succeeded(failure: &watch::Sender<Option<String>>) {
    failure.send_if_modified(|reason| {
        let is_news = reason.is_none();
        if is_news {
            tracing::error!(reason = SUCCEEDED, "the lease is lost");
            *reason = Some(SUCCEEDED.to_owned());
        }
        is_news
    });
}

/// Why a group was not stored.
enum Refused {
    /// For a reason that concerns all of it.
    All(Fault),
    /// Perhaps by the fault of one entry.
    Some(Fault),
}

impl Refused {
    fn fault(self) -> Fault {
        match self {
            Self::All(fault) | Self::Some(fault) => fault,
        }
    }
}

fn told(answer: Result<Vec<Option<u64>>, Fenced>) -> Result<Vec<Option<u64>>, JournalError> {
    answer.map_err(|Fenced| JournalError::Fenced)
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone() -> Fault {
    Fault::Unavailable("the store is closed".into())
}
