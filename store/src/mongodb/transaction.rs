//! Transactions of the process that leads: each whole or not at all, and each only as long as it leads.

use std::time::Duration;

use mgx_scheduler::Entry;
use mongodb::Database;
use mongodb::bson::{Bson, doc};
use mongodb::error::Error;
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::document::uuid;
use super::error::{Fault, is_away, is_duplicate, is_transient, short};
use super::housework::Housework;
use super::lease::{self, FENCE, Held};
use super::plan::{Fenced, Known};
use super::stage::Stage;

/// How long everything before the commit may take.
pub(super) const STAGE: Duration = Duration::from_secs(5);

/// How long a commit may take before it is asked what became of it.
const COMMIT: Duration = Duration::from_secs(10);

/// How often a transaction that met another one is tried again.
const TRIES: u32 = 8;

/// Why nothing was written.
#[derive(Debug)]
pub(super) enum Failed {
    /// Somebody else leads.
    Succeeded,
    /// The server cannot be written.
    Away(Fault),
    /// The server refuses just this.
    Wrong(Fault),
}

/// What the one writer asks of the server.
#[derive(Debug)]
pub(super) struct Transactions {
    db: Database,
    held: Held,
}

/// What keeps a transaction from being committed.
pub(super) enum Stop {
    /// The server, or another transaction.
    Server(Error),
    /// What is stored cannot be read.
    Unreadable(Fault),
    /// Somebody else leads.
    Succeeded,
    /// It takes too long.
    Late,
    /// It was not committed, for whatever reason.
    Undone,
}

impl Stop {
    /// Whether the same may go well if it is tried again.
    fn may_pass(&self) -> bool {
        match self {
            Self::Server(error) => is_transient(error),
            Self::Undone => true,
            Self::Unreadable(_) | Self::Succeeded | Self::Late => false,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Unreadable(fault)
    }
}

impl Transactions {
    pub(super) fn new(db: Database, held: Held) -> Self {
        Self { db, held }
    }

    /// Stores a group of entries. `known` must be cleared if that fails.
    pub(super) async fn write(
        &mut self,
        group: &[&Entry],
        known: &mut Known,
    ) -> Result<Vec<Result<Vec<Option<u64>>, Fenced>>, Failed> {
        let mut careful = false;
        for tries in 1.. {
            let written = match self.begin().await {
                Ok(id) => {
                    let mut stage = Stage { db: &self.db, session: &mut self.held.session };
                    let staged = timeout(STAGE, stage.all(group, known, careful)).await;
                    self.end(id, staged.unwrap_or(Err(Stop::Late))).await
                }
                Err(stop) => Err(stop),
            };
            let stopped = match written {
                Ok(answers) => return Ok(answers),
                Err(stop) => stop,
            };
            known.clear();
            match stopped {
                Stop::Server(error) if is_duplicate(&error) && !careful => careful = true,
                stop if stop.may_pass() && tries < TRIES => pause(tries).await,
                stop => return Err(failed(stop)),
            }
        }
        Err(Failed::Away(Fault::late()))
    }

    /// Does something with one session, in a transaction of its own: how many of what it is about there were.
    pub(super) async fn keep_house(&mut self, work: &Housework) -> Result<usize, Failed> {
        for tries in 1.. {
            let done = match self.begin().await {
                Ok(id) => {
                    let staged = timeout(work.patience(), work.stage(&self.db, &mut self.held.session)).await;
                    self.end(id, staged.unwrap_or(Err(Stop::Late))).await
                }
                Err(stop) => Err(stop),
            };
            match done {
                Ok(count) => return Ok(count),
                Err(stop) if stop.may_pass() && tries < TRIES => pause(tries).await,
                Err(stop) => return Err(failed(stop)),
            }
        }
        Err(Failed::Away(Fault::late()))
    }

    /// Begins a transaction by writing the fence: whoever raises it meanwhile, and this transaction, exclude each other.
    /// Its id.
    async fn begin(&mut self) -> Result<Uuid, Stop> {
        let id = Uuid::now_v7();
        match timeout(STAGE, self.open(id)).await.unwrap_or(Err(Stop::Late)) {
            Ok(()) => Ok(id),
            Err(stop) => self.end(id, Err(stop)).await,
        }
    }

    async fn open(&mut self, id: Uuid) -> Result<(), Stop> {
        let session = &mut self.held.session;
        let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(durable)
            .max_commit_time(COMMIT)
            .await?;
        let ours = doc! { "_id": FENCE, "epoch": self.held.epoch };
        let mark = doc! { "$set": { "transaction": uuid(id) } };
        let marked = lease::collection(&self.db).update_one(ours, mark).session(session).await?;
        if marked.matched_count == 1 { Ok(()) } else { Err(Stop::Succeeded) }
    }

    /// Commits what was staged, or takes it back.
    async fn end<T>(&mut self, id: Uuid, staged: Result<T, Stop>) -> Result<T, Stop> {
        match staged {
            Ok(done) if self.settle(id).await => Ok(done),
            Ok(_) => Err(Stop::Undone),
            Err(stop) => {
                // if the server does not hear of it, it does so when the next one of this session begins
                timeout(STAGE, async { self.held.session.abort_transaction().await }).await.ok();
                Err(stop)
            }
        }
    }

    /// Commits, and returns whether it is committed: it does not return before that is certain.
    async fn settle(&mut self, id: Uuid) -> bool {
        let mut pause = Duration::from_millis(20);
        loop {
            match timeout(COMMIT, async { self.held.session.commit_transaction().await }).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => {
                    tracing::warn!(error = %short(&error), "it is asked again whether a transaction was committed");
                }
                Err(_) => tracing::warn!("a commit takes long; it is asked again whether it was done"),
            }
            // this waits for the transaction if it is still open: afterwards its mark is there or never will be
            let fence = lease::collection(&self.db);
            let asked = fence.find_one_and_update(doc! { "_id": FENCE }, doc! { "$inc": { "asked": 1_i64 } });
            if let Ok(Ok(Some(fence))) = timeout(COMMIT, async { asked.max_time(COMMIT).await }).await {
                return fence.get("transaction") == Some(&Bson::Binary(uuid(id)));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

async fn pause(tries: u32) {
    sleep(Duration::from_millis(2) * (1 << tries.min(6))).await;
}

fn failed(stop: Stop) -> Failed {
    match stop {
        Stop::Server(error) if is_transient(&error) || is_away(&error) => Failed::Away(error.into()),
        Stop::Server(error) => match error.into() {
            Fault::Full => Failed::Away(Fault::Full),
            fault @ Fault::Unavailable(_) => Failed::Wrong(fault),
        },
        Stop::Unreadable(fault) => Failed::Wrong(fault),
        Stop::Succeeded => Failed::Succeeded,
        Stop::Late | Stop::Undone => Failed::Away(Fault::late()),
    }
}
