//! Keeps one kind of container in store: makes them, weeds them out, lets them go; and takes up what an earlier life
//! of the platform has left.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mgx_protocol::SlotId;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::breaker::{Breaker, Noted};
use super::cgroup::Cgroup;
use super::known::Known;
use super::ledger::Entry;
use super::stock::{Slot, Stock};
use super::{House, PREFIX, is_of_pool};
use crate::{ContainerSpec, Placement, RuntimeError, RuntimeErrorKind, Workspace};

/// How often a stock is looked at when nothing has happened to it.
const LOOK: Duration = Duration::from_secs(1);

/// How often leftovers are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// How long an engine that is away is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// How many containers of an earlier life are taken up at a time.
const ADOPTED_AT_ONCE: usize = 8;

/// Keeps `stock` as full as it should be, until the pool is dissolved. Then none is being made any more.
pub(super) async fn keep(house: Arc<House>, stock: Arc<Stock>) {
    let mut settled = house.is_settled.subscribe();
    tokio::select! {
        // the sender lives in the house
        _ = settled.wait_for(|is_settled| *is_settled) => {}
        () = house.retiring.cancelled() => return,
    }
    let mut breaker = Breaker::default();
    let mut making: JoinSet<Result<(), RuntimeError>> = JoinSet::new();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        balance(&house, &stock, &breaker, &mut making);
        tokio::select! {
            () = stock.changed.notified() => {}
            () = stock.left.notified() => {
                for slot in stock.weed(Instant::now()) {
                    stock.lock().tally.quarantined += 1;
                    house.quarantine(slot.known, "its runner has left".to_owned());
                }
            }
            Some(made) = making.join_next() => {
                stock.making.store(making.len(), Ordering::Relaxed);
                note(&stock, &mut breaker, made.map_err(io::Error::other));
            }
            _ = look.tick() => {}
            () = house.retiring.cancelled() => break,
        }
    }
    while making.join_next().await.is_some() {}
}

/// Begins to make what is missing, or lets one go that is too many.
fn balance(
    house: &Arc<House>,
    stock: &Arc<Stock>,
    breaker: &Breaker,
    making: &mut JoinSet<Result<(), RuntimeError>>,
) {
    let now = Instant::now();
    let memory = stock.spec.limits.memory_bytes.max(1);
    let free = house.config.memory_bytes.saturating_sub(house.hands.memory_bytes());
    let coming = stock.parked() + making.len();
    let affordable = usize::try_from(free / memory).unwrap_or(usize::MAX).saturating_add(coming);
    let target = stock.target(affordable, now);
    // whoever makes a container because there was none comes first
    let allowance = if stock.is_cold() { 0 } else { breaker.allowance(house.config.refill, now) };
    while stock.parked() + making.len() < target && making.len() < allowance {
        let slot = slot();
        let Some(known) = house.hands.take(&slot, memory) else { break };
        making.spawn(make(Arc::clone(house), Arc::clone(stock), known));
    }
    stock.making.store(making.len(), Ordering::Relaxed);
    if stock.parked() > target
        && let Some(slot) = stock.take(now)
    {
        house.quarantine(slot.known, "nobody has asked for it".to_owned());
    }
}

fn note(stock: &Stock, breaker: &mut Breaker, made: Result<Result<(), RuntimeError>, io::Error>) {
    let image = &stock.spec.image;
    let error = match made {
        Ok(Ok(())) => {
            if breaker.succeeded() {
                info!(image, "the pool makes containers again");
            }
            stock.lock().is_broken = false;
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    match breaker.failed(Instant::now()) {
        Noted::Opened => warn!(image, error, "the pool cannot make containers; jobs start without it"),
        Noted::Counted | Noted::StaysOpen => debug!(image, error, "the pool could not make a container"),
    }
    stock.lock().is_broken = breaker.is_open();
}

/// Makes a container and leaves it on `stock`.
async fn make(house: Arc<House>, stock: Arc<Stock>, known: Known) -> Result<(), RuntimeError> {
    let began = Instant::now();
    let slot = known.slot().clone();
    let made = async {
        let refused = |error: io::Error| {
            RuntimeError::new(RuntimeErrorKind::Refused, "cannot make a seat for a workspace").because(error)
        };
        let seat = house.seats.as_ref().map(|seats| seats.make(&slot)).transpose().map_err(refused)?;
        let labels = [("mgx.pool".to_owned(), house.config.generation.clone())].into();
        let placement = Placement { slot: slot.clone(), workspace: seat.map(Workspace::Seat), labels };
        house.below.create(&stock.spec, &placement).await?;
        let entry = |nonce| Entry {
            slot: slot.clone(),
            nonce,
            spec: stock.spec.clone(),
            generation: house.config.generation.clone(),
        };
        let parked = house.below.park(&slot, Arc::clone(&stock.left)).await?;
        house.ledger.park(&entry(parked.nonce())).map_err(super::unwritable)?;
        Ok(parked)
    };
    match made.await {
        Ok(parked) => {
            stock.lock().tally.made(began.elapsed());
            store(&house, &stock, known, parked, stock.spec.limits);
            Ok(())
        }
        Err(error) => {
            house.discard(known, "it could not be made").await;
            Err(error)
        }
    }
}

fn store(house: &Arc<House>, stock: &Stock, known: Known, parked: crate::Parked, shape: crate::Limits) {
    let runner = parked.process();
    let is_reached = house.seats.as_ref().is_some_and(|seats| seats.reach(runner));
    let cgroup = runner.and_then(Cgroup::of);
    house.put_back(stock, Slot { parked, shape, cgroup, is_reached, known });
}

/// Takes up what an earlier life has left, then looks for leftovers now and then.
pub(super) async fn settle(house: &Arc<House>) {
    let adopted = loop {
        match adopt(house).await {
            Ok(adopted) => break adopted,
            Err(error) => debug!(%error, "the pool waits for the engine"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    if adopted > 0 {
        info!(adopted, "the pool has taken up containers that waited for an earlier process");
    }
    house.is_settled.send_replace(true);
    loop {
        if let Err(error) = sweep(house).await {
            debug!(%error, "the pool cannot look for leftovers");
        }
        tokio::time::sleep(SWEEP).await;
    }
}

/// Puts every container that waits, lives and is who it says on its stock again, and removes the others.
async fn adopt(house: &Arc<House>) -> Result<usize, RuntimeError> {
    let listed = house.below.list().await?;
    let alive: HashSet<_> =
        listed.into_iter().filter(|listed| listed.running).map(|listed| listed.slot).collect();
    let parked = house.ledger.all_parked().map_err(super::unreadable)?;
    let adopting = stream::iter(parked).map(|entry| adopt_one(house, entry, &alive));
    let adopted = adopting.buffer_unordered(ADOPTED_AT_ONCE).collect::<Vec<_>>().await;
    Ok(adopted.into_iter().filter(|adopted| *adopted).count())
}

async fn adopt_one(house: &Arc<House>, entry: Entry, alive: &HashSet<SlotId>) -> bool {
    let Some(known) = house.hands.take(&entry.slot, entry.spec.limits.memory_bytes) else { return false };
    let stock = house.stock(&ContainerSpec { limits: house.config.spec.limits, ..entry.spec.clone() });
    let why = if !alive.contains(&entry.slot) {
        "it has ended".to_owned()
    } else if entry.generation != house.config.generation {
        "it was made from another build of the image".to_owned()
    } else {
        match house.below.reattach(&entry.slot).await {
            Err(error) if error.kind() == RuntimeErrorKind::NotInvoked => {
                match house.below.park(&entry.slot, Arc::clone(&stock.left)).await {
                    Ok(parked) if parked.nonce() == entry.nonce => {
                        store(house, &stock, known, parked, entry.spec.limits);
                        return true;
                    }
                    Ok(_) => "another runner answers".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
            Ok(_) => "it has an invocation".to_owned(),
        }
    };
    house.discard(known, &why).await;
    false
}

/// Removes what looks like the pool's and is in nobody's hands.
async fn sweep(house: &Arc<House>) -> Result<(), RuntimeError> {
    let claimed_before = house.ledger.all_claims().map_err(super::unreadable)?;
    let listed: HashSet<_> = house.below.list().await?.into_iter().map(|listed| listed.slot).collect();
    let seats = house.seats.as_ref().and_then(|seats| seats.all().ok()).unwrap_or_default();
    let unknown: HashSet<_> = listed
        .iter()
        .cloned()
        .chain(seats)
        .filter(|slot| is_of_pool(slot) && !house.hands.hold(slot))
        .collect();
    // looked at last: what is claimed leaves the hands only when it is written down
    let claims = house.ledger.all_claims().map_err(super::unreadable)?;
    for slot in unknown.into_iter().filter(|slot| !claims.contains_key(slot)) {
        let Some(known) = house.hands.take(&slot, 0) else { continue };
        house.discard(known, "nobody knows it").await;
    }
    // a claim is written down after its container was made, so one without a container has lost it
    for (slot, job) in claimed_before.iter().filter(|(slot, _)| !listed.contains(slot)) {
        if claims.get(slot) == Some(job) {
            house.clear(slot).await;
            house.ledger.release(job);
        }
    }
    Ok(())
}

fn slot() -> SlotId {
    let id = format!("{PREFIX}{}", Uuid::now_v7().as_simple());
    id.parse().expect("letters, digits and a hyphen")
}
