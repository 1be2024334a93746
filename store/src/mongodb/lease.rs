//! The lease, which says who schedules and in which epoch; and the fence, behind which nobody else writes.
//!
//! The lease moves twice a second while its holder lives. Whoever sees it stand still for [`STILL`] takes it, with the
//! next epoch. No clock is compared with another one. Nothing else ever writes that document, so nothing is in the way of
//! whoever takes it.
//!
//! What keeps the one before from writing on is the fence: every transaction of the journal begins by writing it under
//! its epoch. Whoever has taken the lease raises it to the new epoch before anything is read: a transaction that is open
//! by then is over before that, one that comes later is refused. A process that was killed has perhaps left one open,
//! which a server keeps for a minute: so the fence names the session of the transactions, and it is ended first.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use mongodb::{ClientSession, Collection, Database};
use tokio::time::{Instant, sleep, timeout};

use super::error::{Fault, is_duplicate, short};

/// The document of the lease.
const SCHEDULER: &str = "scheduler";

/// The document of the fence.
pub(super) const FENCE: &str = "fence";

/// How long the lease stands still before somebody else takes it.
const STILL: Duration = Duration::from_secs(3);

/// How often the lease moves.
const BEAT: Duration = Duration::from_millis(500);

/// How often those who wait look.
const LOOK: Duration = Duration::from_millis(250);

/// How long one request may take; less than [`STILL`].
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is said at most why nobody leads.
const SAY: Duration = Duration::from_secs(10);

/// Who schedules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Where it answers, such as `http://10.0.0.7:8765`.
    pub address: String,
    /// Which process it is, for people: `pid 1234 on host since 2026-01-02T03:04:05Z`.
    pub by: String,
    /// How many have led until now, with this one.
    pub epoch: u64,
}

/// The lease, in the hands of this process.
#[derive(Debug)]
pub(super) struct Held {
    /// The epoch that this process leads in.
    pub(super) epoch: i64,
    /// The session of all its transactions, which the fence names.
    pub(super) session: ClientSession,
}

/// Where a lease stands: as long as this changes, somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    epoch: i64,
    beat: i64,
    free: bool,
}

pub(super) fn collection(db: &Database) -> Collection<Document> {
    db.collection("leases")
}

/// Who leads, if somebody does.
pub(super) async fn leader(db: &Database) -> Result<Option<Leader>, Fault> {
    let found = soon(async { Ok(collection(db).find_one(doc! { "_id": SCHEDULER }).await?) }).await?;
    Ok(found.and_then(|lease| {
        let address = lease.get_str("address").ok().filter(|address| !address.is_empty())?.to_owned();
        let by = lease.get_str("by").unwrap_or_default().to_owned();
        Some(Leader { address, by, epoch: lease.get_i64("epoch").unwrap_or_default().unsigned_abs() })
    }))
}

/// Waits until nobody leads, and leads. `address` is where this process answers, `by` who it is.
pub(super) async fn take(db: &Database, address: &str, by: &str) -> Held {
    let (mut seen, mut complaint) = (None, Complaint::default());
    loop {
        let taken = match claim(db, &mut seen, address, by).await {
            Ok(Some(epoch)) => fence(db, epoch, &mut complaint).await,
            Ok(None) => Ok(None),
            Err(fault) => Err(fault),
        };
        match taken {
            Ok(Some(held)) => return held,
            Ok(None) => {}
            Err(fault) => complaint.about("the lease cannot be looked at or taken", &fault),
        }
        sleep(LOOK).await;
    }
}

/// Moves the lease until it is somebody else's.
pub(super) async fn keep(db: &Database, epoch: i64) {
    let mut complaint = Complaint::default();
    loop {
        match beat(db, epoch).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(fault) => complaint.about("the lease cannot be kept just now", &fault),
        }
        sleep(BEAT).await;
    }
}

/// Gives the lease back, so that nobody has to wait for it.
pub(super) async fn release(db: &Database, epoch: i64) {
    let free = doc! { "$set": { "free": true, "address": "" }, "$inc": { "beat": 1_i64 } };
    let ours = doc! { "_id": SCHEDULER, "epoch": epoch };
    if soon(async { Ok(collection(db).update_one(ours, free).await?) }).await.is_err() {
        tracing::warn!("the lease could not be given back: it runs out by itself");
    }
}

/// Takes the lease if it is free, or has not moved for long enough since it was `seen` first: the new epoch.
async fn claim(
    db: &Database,
    seen: &mut Option<(Place, Instant)>,
    address: &str,
    by: &str,
) -> Result<Option<i64>, Fault> {
    let before = seen.take();
    // if this fails, nothing was seen: a server that was away says nothing of who leads
    let place = soon(look(db)).await?;
    let since = before.filter(|(before, _)| *before == place).map_or_else(Instant::now, |(_, since)| since);
    *seen = Some((place, since));
    if !place.free && since.elapsed() < STILL {
        return Ok(None);
    }
    let epoch = place.epoch + 1;
    let stands = doc! { "_id": SCHEDULER, "epoch": place.epoch, "beat": place.beat };
    let ours = doc! { "$set": { "epoch": epoch, "free": false, "address": address, "by": by } };
    let leases = collection(db);
    let taken = leases.find_one_and_update(stands, ours).max_time(PATIENCE);
    Ok(soon(async { Ok(taken.await?) }).await?.map(|_| epoch))
}

async fn look(db: &Database) -> Result<Place, Fault> {
    let leases = collection(db);
    loop {
        if let Some(lease) = leases.find_one(doc! { "_id": SCHEDULER }).await? {
            return Ok(Place {
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

/// Whether the lease was moved: it is still this process's.
async fn beat(db: &Database, epoch: i64) -> Result<bool, Fault> {
    let (ours, moved) = (doc! { "_id": SCHEDULER, "epoch": epoch }, doc! { "$inc": { "beat": 1_i64 } });
    Ok(soon(async { Ok(collection(db).update_one(ours, moved).await?) }).await?.matched_count == 1)
}

/// Raises the fence, and keeps the lease meanwhile. Nothing, if that is lost by then.
async fn fence(db: &Database, epoch: i64, complaint: &mut Complaint) -> Result<Option<Held>, Fault> {
    let session = soon(async { Ok(db.client().start_session().await?) }).await?;
    loop {
        match soon(raise(db, epoch, &session)).await {
            Ok(true) => return Ok(Some(Held { epoch, session })),
            Ok(false) => return Ok(None),
            Err(fault) => complaint.about("the lease is taken, but the fence cannot be raised", &fault),
        }
        if !beat(db, epoch).await? {
            return Ok(None);
        }
        sleep(LOOK).await;
    }
}

/// Whether the fence stands at `epoch` now: it does not if somebody has raised it higher.
async fn raise(db: &Database, epoch: i64, session: &ClientSession) -> Result<bool, Fault> {
    let fences = collection(db);
    let before = fences.find_one(doc! { "_id": FENCE }).await?;
    if let Some(before) = before.as_ref().and_then(|fence| fence.get_document("session").ok())
        && before != session.id()
        && let Err(error) = db.client().database("admin").run_command(doc! { "killSessions": [before] }).await
    {
        tracing::warn!(error = %short(&error), "what the process before has left open is left to end by itself");
    }
    let lower = doc! { "_id": FENCE, "epoch": { "$lte": epoch } };
    let raised = doc! { "$set": { "epoch": epoch, "session": session.id() } };
    let raised = fences.find_one_and_update(lower, raised).upsert(true);
    match raised.return_document(ReturnDocument::After).max_time(PATIENCE).await {
        Ok(raised) => Ok(raised.is_some()),
        Err(error) if is_duplicate(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn soon<T>(request: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(PATIENCE, request).await.unwrap_or_else(|_| Err(Fault::late()))
}

/// Says why nobody leads, but not all the time.
#[derive(Debug, Default)]
struct Complaint {
    said: Option<Instant>,
}

impl Complaint {
    fn about(&mut self, what: &str, fault: &Fault) {
        if self.said.is_none_or(|said| said.elapsed() >= SAY) {
            tracing::warn!(?fault, "{what}");
            self.said = Some(Instant::now());
        }
    }
}
