//! The lease: one document that says which process schedules, and in which epoch.
//!
//! The one who holds it moves it on with everything it writes, and twice a second when it writes nothing. Whoever sees
//! it stand still for [`STILL`] takes it, with the next epoch. No clock is compared with another one.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Database};
use tokio::time::{Instant, sleep, timeout};

use super::error::{Fault, is_duplicate};

/// The document.
pub(super) const SCHEDULER: &str = "scheduler";

/// How long the lease stands still before somebody else takes it.
const STILL: Duration = Duration::from_secs(3);

/// How often those who wait look.
const LOOK: Duration = Duration::from_millis(250);

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(2);

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The epoch that this process leads in.
    pub(super) epoch: i64,
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
    let found = timeout(PATIENCE, async { collection(db).find_one(doc! { "_id": SCHEDULER }).await })
        .await
        .map_err(|_| Fault::late())??;
    Ok(found.and_then(|lease| {
        let address = lease.get_str("address").ok().filter(|address| !address.is_empty())?.to_owned();
        let by = lease.get_str("by").unwrap_or_default().to_owned();
        Some(Leader { address, by, epoch: lease.get_i64("epoch").unwrap_or_default().unsigned_abs() })
    }))
}

/// Waits until nobody leads, and leads. `address` is where this process answers, `by` who it is.
pub(super) async fn take(db: &Database, address: &str, by: &str) -> Held {
    let mut seen: Option<(Place, Instant)> = None;
    loop {
        let looked = timeout(PATIENCE, look(db)).await.unwrap_or_else(|_| Err(Fault::late()));
        match (looked, seen) {
            (Ok(place), Some((before, since)))
                if place == before && (place.free || since.elapsed() >= STILL) =>
            {
                if let Some(held) = timeout(PATIENCE, claim(db, place, address, by)).await.ok().flatten() {
                    return held;
                }
                seen = None;
            }
            (Ok(place), Some((before, _))) if place == before => {}
            (Ok(place), _) => {
                seen = Some((place, Instant::now()));
                if place.free {
                    continue;
                }
            }
            // a server that was away says nothing of who leads
            (Err(_), _) => seen = None,
        }
        sleep(LOOK).await;
    }
}

/// Gives the lease back, so that nobody has to wait for it.
pub(super) async fn release(db: &Database, held: Held) {
    let free = doc! { "$set": { "free": true, "address": "" }, "$inc": { "beat": 1_i64 } };
    let ours = doc! { "_id": SCHEDULER, "epoch": held.epoch };
    if timeout(PATIENCE, async { collection(db).update_one(ours, free).await }).await.is_err() {
        tracing::warn!("the lease could not be given back: it runs out by itself");
    }
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

/// Takes the lease if it still stands at `place`.
async fn claim(db: &Database, place: Place, address: &str, by: &str) -> Option<Held> {
    let epoch = place.epoch + 1;
    let filter = doc! { "_id": SCHEDULER, "epoch": place.epoch, "beat": place.beat };
    let set = doc! { "$set": { "epoch": epoch, "free": false, "address": address, "by": by } };
    let claimed: Result<Option<Document>, Error> =
        collection(db).find_one_and_update(filter, set).return_document(ReturnDocument::After).await;
    match claimed {
        Ok(claimed) => claimed.map(|_| Held { epoch }),
        Err(error) => {
            tracing::warn!(error = %super::error::short(&error), "the lease could not be taken");
            None
        }
    }
}
