//! Transactions of the process that leads: each completely or not at all, and only as long as the process leads.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use mgx_scheduler::Entry;
use mongodb::Database;
use mongodb::bson::{Bson, doc};
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::error::Failure;
use crate::mongodb::bson_values::uuid;
use crate::mongodb::error::{is_duplicate, is_transient, is_unreachable, summary, timed_out};
use crate::mongodb::lease::{self, FENCE, HeldLease};
use crate::mongodb::writer::abort::{Abort, STATEMENTS_TIMEOUT};
use crate::mongodb::writer::group_plan::{Fenced, WriterCache};
use crate::mongodb::writer::group_write::GroupWrite;
use crate::mongodb::writer::session_task::SessionTask;

/// How long a commit may take before the fence is asked whether it took effect.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a transaction that conflicted with another one is tried again.
const MAX_RETRIES: usize = 7;

/// Why nothing was written.
#[derive(Debug)]
pub(crate) enum TransactionError {
    /// Another process holds the lease.
    LeaseLost,
    /// The server cannot be written at the moment.
    Unreachable(Failure),
    /// The server refuses these entries.
    Rejected(Failure),
}

/// The transactions of the writer.
#[derive(Debug)]
pub(crate) struct Transactions {
    db: Database,
    lease: HeldLease,
}

impl Transactions {
    pub(crate) fn new(db: Database, lease: HeldLease) -> Self {
        Self { db, lease }
    }

    /// Stores a group of entries. If that fails, `cache` must be cleared.
    pub(crate) async fn write(
        &mut self,
        group: &[&Entry],
        cache: &mut WriterCache,
    ) -> Result<Vec<Result<Vec<Option<u64>>, Fenced>>, TransactionError> {
        let (mut delays, mut check_all_sources) = (retries(), false);
        loop {
            let written = match self.begin().await {
                Ok(id) => {
                    let mut write = GroupWrite { db: &self.db, session: &mut self.lease.session };
                    let statements = write.run(group, cache, check_all_sources);
                    let result = timeout(STATEMENTS_TIMEOUT, statements).await;
                    self.end(id, result.unwrap_or(Err(Abort::Timeout))).await
                }
                Err(abort) => Err(abort),
            };
            let abort = match written {
                Ok(results) => return Ok(results),
                Err(abort) => abort,
            };
            cache.clear();
            match abort {
                Abort::Server(error) if is_duplicate(&error) && !check_all_sources => {
                    check_all_sources = true;
                }
                abort => wait_for_retry(abort, &mut delays).await?,
            }
        }
    }

    /// Changes one session as a whole, in a transaction of its own. How many sessions or events were changed.
    pub(crate) async fn change_session(&mut self, task: &SessionTask) -> Result<usize, TransactionError> {
        let mut delays = retries();
        loop {
            let done = match self.begin().await {
                Ok(id) => {
                    let statements = task.run(&self.db, &mut self.lease.session);
                    let result = timeout(task.timeout(), statements).await;
                    self.end(id, result.unwrap_or(Err(Abort::Timeout))).await
                }
                Err(abort) => Err(abort),
            };
            match done {
                Ok(count) => return Ok(count),
                Err(abort) => wait_for_retry(abort, &mut delays).await?,
            }
        }
    }

    /// Begins a transaction with a write to the fence, so that this transaction and a process that raises the fence
    /// exclude each other. Returns the id of the transaction.
    async fn begin(&mut self) -> Result<Uuid, Abort> {
        let id = Uuid::now_v7();
        match timeout(STATEMENTS_TIMEOUT, self.open(id)).await.unwrap_or(Err(Abort::Timeout)) {
            Ok(()) => Ok(id),
            Err(abort) => self.end(id, Err(abort)).await,
        }
    }

    async fn open(&mut self, id: Uuid) -> Result<(), Abort> {
        let session = &mut self.lease.session;
        let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(durable)
            .max_commit_time(COMMIT_TIMEOUT)
            .await?;
        let ours = doc! { "_id": FENCE, "epoch": self.lease.epoch };
        let mark = doc! { "$set": { "transaction": uuid(id) } };
        let marked = lease::collection(&self.db).update_one(ours, mark).session(session).await?;
        if marked.matched_count == 1 { Ok(()) } else { Err(Abort::LeaseLost) }
    }

    /// Commits the transaction if its statements succeeded, and aborts it if not.
    async fn end<T>(&mut self, id: Uuid, statements: Result<T, Abort>) -> Result<T, Abort> {
        match statements {
            Ok(done) if self.commit(id).await => Ok(done),
            Ok(_) => Err(Abort::NotCommitted),
            Err(abort) => {
                // if this does not reach the server, the next transaction of the session aborts this one
                timeout(STATEMENTS_TIMEOUT, async { self.lease.session.abort_transaction().await })
                    .await
                    .ok();
                Err(abort)
            }
        }
    }

    /// Commits, and returns whether the commit took effect. Does not return before that is certain.
    async fn commit(&mut self, id: Uuid) -> bool {
        let delays = ExponentialBuilder::new().with_min_delay(Duration::from_millis(20)).without_max_times();
        let mut delays = delays.with_max_delay(Duration::from_secs(1)).build();
        loop {
            match timeout(COMMIT_TIMEOUT, async { self.lease.session.commit_transaction().await }).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => {
                    tracing::warn!(error = %summary(&error), "a commit failed; asking whether it took effect");
                }
                Err(_) => tracing::warn!("a commit takes long; asking whether it took effect"),
            }
            // this write waits for the transaction if it is still open: afterwards its mark is there, or never will be
            let fence = lease::collection(&self.db);
            let asked = fence.find_one_and_update(doc! { "_id": FENCE }, doc! { "$inc": { "asked": 1_i64 } });
            if let Ok(Ok(Some(fence))) =
                timeout(COMMIT_TIMEOUT, async { asked.max_time(COMMIT_TIMEOUT).await }).await
            {
                return fence.get("transaction") == Some(&Bson::Binary(uuid(id)));
            }
            sleep(delays.next().unwrap_or(Duration::from_secs(1))).await;
        }
    }
}

/// The delays between the attempts at a transaction: 4, 8, 16, … 128 ms.
fn retries() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(4))
        .with_max_delay(Duration::from_millis(128))
        .with_max_times(MAX_RETRIES)
        .build()
}

/// Waits before the next attempt; an error if the abort is final or the attempts are used up.
async fn wait_for_retry(
    abort: Abort,
    delays: &mut (impl Iterator<Item = Duration> + Send),
) -> Result<(), TransactionError> {
    match if abort.is_transient() { delays.next() } else { None } {
        Some(delay) => {
            sleep(delay).await;
            Ok(())
        }
        None => Err(error_of(abort)),
    }
}

fn error_of(abort: Abort) -> TransactionError {
    match abort {
        Abort::Server(error) if is_transient(&error) || is_unreachable(&error) => {
            TransactionError::Unreachable(error.into())
        }
        Abort::Server(error) => match error.into() {
            Failure::Full => TransactionError::Unreachable(Failure::Full),
            failure @ (Failure::Unavailable(_) | Failure::Broken(_)) => TransactionError::Rejected(failure),
        },
        Abort::Unreadable(failure) => TransactionError::Rejected(failure),
        Abort::LeaseLost => TransactionError::LeaseLost,
        Abort::Timeout | Abort::NotCommitted => TransactionError::Unreachable(timed_out()),
    }
}
