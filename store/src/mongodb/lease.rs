//! The lease, a document that names the process that schedules and its epoch, and the fence, a document that keeps every
//! other process from writing.
//!
//! The holder renews the lease twice a second. A process that sees it unchanged for [`EXPIRY`] takes it, with the next
//! epoch. No clock is compared with another one. The document is written for no other purpose, so no other write delays
//! the process that takes it.
//!
//! The fence stops the previous holder: every transaction of the journal begins with a write to the fence under the epoch
//! of its process. The process that has taken the lease raises the fence to the new epoch before it reads anything: a
//! transaction that is open has ended by then, and a later one of the previous holder is refused. A killed process may
//! have left a transaction open, which a server keeps for a minute: so the fence names the server session of the
//! transactions, and that session is ended first.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use mongodb::{ClientSession, Collection, Database};
use tokio::time::{Instant, sleep, timeout};

use crate::error::Failure;
use crate::mongodb::error::{is_duplicate, summary, timed_out};

/// The document of the lease.
const SCHEDULER: &str = "scheduler";

/// The document of the fence.
pub(crate) const FENCE: &str = "fence";

/// How long the lease must be unchanged before another process takes it.
const EXPIRY: Duration = Duration::from_secs(3);

/// How often the holder renews the lease.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(500);

/// How often a waiting process reads the lease.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How long one request may take; less than [`EXPIRY`].
const LEASE_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a warning is logged at most.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// The process that schedules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its address, such as `http://10.0.0.7:8765`.
    pub address: String,
    /// Its description, for people: `pid 1234 on host since 2026-01-02T03:04:05Z`.
    pub by: String,
    /// The number of times that the lease has been taken.
    pub epoch: u64,
}

/// The lease, held by this process.
#[derive(Debug)]
pub(crate) struct HeldLease {
    /// The epoch that this process leads in.
    pub(crate) epoch: i64,
    /// The server session of all its transactions, which the fence names.
    pub(crate) session: ClientSession,
}

/// The state of the lease: as long as it changes, a process holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LeaseState {
    epoch: i64,
    beat: i64,
    free: bool,
}

pub(crate) fn collection(db: &Database) -> Collection<Document> {
    db.collection("leases")
}

/// The process that leads, if there is one.
pub(crate) async fn leader(db: &Database) -> Result<Option<Leader>, Failure> {
    let found = in_time(async { Ok(collection(db).find_one(doc! { "_id": SCHEDULER }).await?) }).await?;
    Ok(found.and_then(|lease| {
        let address = lease.get_str("address").ok().filter(|address| !address.is_empty())?.to_owned();
        let by = lease.get_str("by").unwrap_or_default().to_owned();
        Some(Leader { address, by, epoch: lease.get_i64("epoch").unwrap_or_default().unsigned_abs() })
    }))
}

/// Waits until no process leads, and takes the lease. `address` is the address of this process, `by` its description.
pub(crate) async fn take(db: &Database, address: &str, by: &str) -> HeldLease {
    let (mut seen, mut warnings) = (None, Warnings::default());
    loop {
        let taken = match try_take(db, &mut seen, address, by).await {
            Ok(Some(epoch)) => raise_fence(db, epoch, &mut warnings).await,
            Ok(None) => Ok(None),
            Err(failure) => Err(failure),
        };
        match taken {
            Ok(Some(held)) => return held,
            Ok(None) => {}
            Err(failure) => warnings.warn("cannot read or take the lease", &failure),
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Renews the lease until another process has taken it.
pub(crate) async fn renew_until_lost(db: &Database, epoch: i64) {
    let mut warnings = Warnings::default();
    loop {
        match renew(db, epoch).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(failure) => warnings.warn("cannot renew the lease", &failure),
        }
        sleep(RENEWAL_INTERVAL).await;
    }
}

/// Releases the lease, so that the next process need not wait for its expiry.
pub(crate) async fn release(db: &Database, epoch: i64) {
    let free = doc! { "$set": { "free": true, "address": "" }, "$inc": { "beat": 1_i64 } };
    let ours = doc! { "_id": SCHEDULER, "epoch": epoch };
    if in_time(async { Ok(collection(db).update_one(ours, free).await?) }).await.is_err() {
        tracing::warn!("cannot release the lease; it expires by itself");
    }
}

/// Takes the lease if it is free, or unchanged for long enough since it was `seen` first. The new epoch.
async fn try_take(
    db: &Database,
    seen: &mut Option<(LeaseState, Instant)>,
    address: &str,
    by: &str,
) -> Result<Option<i64>, Failure> {
    let before = seen.take();
    // if this fails, nothing was seen: from an unreachable server it does not follow that no process leads
    let state = in_time(read(db)).await?;
    let since = before.filter(|(before, _)| *before == state).map_or_else(Instant::now, |(_, since)| since);
    *seen = Some((state, since));
    if !state.free && since.elapsed() < EXPIRY {
        return Ok(None);
    }
    let epoch = state.epoch + 1;
    let unchanged = doc! { "_id": SCHEDULER, "epoch": state.epoch, "beat": state.beat };
    let ours = doc! { "$set": { "epoch": epoch, "free": false, "address": address, "by": by } };
    let leases = collection(db);
    let taken = leases.find_one_and_update(unchanged, ours).max_time(LEASE_REQUEST_TIMEOUT);
    Ok(in_time(async { Ok(taken.await?) }).await?.map(|_| epoch))
}

async fn read(db: &Database) -> Result<LeaseState, Failure> {
    let leases = collection(db);
    loop {
        if let Some(lease) = leases.find_one(doc! { "_id": SCHEDULER }).await? {
            return Ok(LeaseState {
                epoch: lease.get_i64("epoch").unwrap_or_default(),
                beat: lease.get_i64("beat").unwrap_or_default(),
                free: lease.get_bool("free").unwrap_or(false),
            });
        }
        let first = doc! { "_id": SCHEDULER, "epoch": 0_i64, "beat": 0_i64, "free": true, "address": "" };
        match leases.insert_one(first).await {
            Ok(_) => {}
            Err(error) if is_duplicate(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Renews the lease. `false`: another process has taken it.
async fn renew(db: &Database, epoch: i64) -> Result<bool, Failure> {
    let (ours, moved) = (doc! { "_id": SCHEDULER, "epoch": epoch }, doc! { "$inc": { "beat": 1_i64 } });
    Ok(in_time(async { Ok(collection(db).update_one(ours, moved).await?) }).await?.matched_count == 1)
}

/// Raises the fence, and renews the lease meanwhile. `None`: the lease was lost.
async fn raise_fence(
    db: &Database,
    epoch: i64,
    warnings: &mut Warnings,
) -> Result<Option<HeldLease>, Failure> {
    let session = in_time(async { Ok(db.client().start_session().await?) }).await?;
    loop {
        match in_time(raise(db, epoch, &session)).await {
            Ok(true) => return Ok(Some(HeldLease { epoch, session })),
            Ok(false) => return Ok(None),
            Err(failure) => warnings.warn("the lease is taken, but the fence cannot be raised", &failure),
        }
        if !renew(db, epoch).await? {
            return Ok(None);
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Raises the fence to `epoch`. `false`: another process has raised it higher.
async fn raise(db: &Database, epoch: i64, session: &ClientSession) -> Result<bool, Failure> {
    let fences = collection(db);
    let before = fences.find_one(doc! { "_id": FENCE }).await?;
    if let Some(before) = before.as_ref().and_then(|fence| fence.get_document("session").ok())
        && before != session.id()
        && let Err(error) = db.client().database("admin").run_command(doc! { "killSessions": [before] }).await
    {
        tracing::warn!(error = %summary(&error), "cannot end the open transaction of the previous process; the server ends it later");
    }
    let lower = doc! { "_id": FENCE, "epoch": { "$lte": epoch } };
    let raised = doc! { "$set": { "epoch": epoch, "session": session.id() } };
    let raised = fences.find_one_and_update(lower, raised).upsert(true);
    match raised.return_document(ReturnDocument::After).max_time(LEASE_REQUEST_TIMEOUT).await {
        Ok(raised) => Ok(raised.is_some()),
        Err(error) if is_duplicate(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn in_time<T>(request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(LEASE_REQUEST_TIMEOUT, request).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Logs warnings, but not too often.
#[derive(Debug, Default)]
struct Warnings {
    last: Option<Instant>,
}

impl Warnings {
    fn warn(&mut self, what: &str, failure: &Failure) {
        if self.last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            tracing::warn!(?failure, "{what}");
            self.last = Some(Instant::now());
        }
    }
}
