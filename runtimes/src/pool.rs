//! The warm pool: a runtime around another one, in which containers wait that were made before anybody asked.
//!
//! A container that waits belongs to nobody: its runner is connected and idle. A start takes one, and everything
//! that is the job's own is bound then: the workspace is mounted into it, its limits are set, and the runner confirms
//! with its nonce that it is the one that waited. Environment, secrets, command and deadline come with the
//! invocation, as always. Whatever is in doubt is thrown away; whoever finds nothing that fits makes a container of
//! their own, as if there were no pool. So a pool can speed a start and cannot fail one.
//!
//! The runtime below knows nothing of it. It knows the container by a slot of the pool's (`pool-…`); the ledger
//! says which job's slot that is.

mod breaker;
mod cgroup;
mod keeper;
mod known;
mod ledger;
mod mountinfo;
pub mod report;
mod seats;
mod sizing;
mod stock;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use mgx_protocol::Invocation;
use mgx_protocol::SlotId;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::{
    ContainerSpec, EngineInfo, Listed, Parking, Placement, Run, Runtime, RuntimeError, RuntimeErrorKind,
    Workspace,
};
pub use cgroup::memory_of;
use known::{Hands, Known};
use ledger::Ledger;
use report::Report;
use seats::Seats;
pub use sizing::Bounds;
use stock::{Key, Slot, Stock, can_wait};

/// How long a runner may take to confirm that it is claimed.
const CLAIM_LIMIT: Duration = Duration::from_millis(250);

/// How many that turn out to be unfit one start tries before it makes its own.
const TRIES: u32 = 4;

/// What the slots of containers that wait begin with; no job's does.
const PREFIX: &str = "pool-";

/// How a pool is kept.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Where it remembers what waits and who has claimed it, and where workspaces are mounted; as the engine sees it.
    pub directory: PathBuf,
    /// What waits from the start. Other kinds wait once somebody has asked for them.
    pub spec: ContainerSpec,
    /// Which build of the image that is: what an earlier life of the platform has made from another one is removed.
    pub generation: String,
    /// How many wait, of each kind.
    pub bounds: Bounds,
    /// How much memory all that wait may use together, in bytes.
    pub memory_bytes: u64,
    /// How many of each kind are made at a time.
    pub refill: usize,
}

/// A runtime with containers in store.
pub struct Pool {
    house: Arc<House>,
    _closing: DropGuard,
}

/// What the pool and its keepers share.
struct House {
    below: Arc<dyn Parking>,
    config: PoolConfig,
    ledger: Ledger,
    /// Where workspaces are mounted; nothing if that cannot be done here.
    seats: Option<Arc<Seats>>,
    hands: Hands,
    stocks: RwLock<HashMap<Key, Arc<Stock>>>,
    /// Slots of jobs whose container is being made.
    starting: Hands,
    /// Whether what an earlier life left has been taken up.
    is_settled: watch::Sender<bool>,
    tasks: TaskTracker,
    /// Nothing new is begun any more; what is under way is brought to its end.
    retiring: CancellationToken,
    /// Nobody is left to do anything.
    closing: CancellationToken,
}

impl Pool {
    /// A pool around `below`. It makes nothing until it is [started](Self::start), but knows what was claimed before.
    ///
    /// # Errors
    /// Its directory cannot be made.
    pub fn open(below: Arc<dyn Parking>, config: PoolConfig) -> io::Result<Self> {
        let ledger = Ledger::open(&config.directory)?;
        let seats = Seats::open(&config.directory.join("seats"));
        if let Err(error) = &seats {
            info!(%error, "workspaces cannot be mounted into containers that run: jobs that bring one start cold");
        }
        let closing = CancellationToken::new();
        let house = Arc::new(House {
            below,
            config,
            ledger,
            seats: seats.ok().map(Arc::new),
            hands: Hands::default(),
            stocks: RwLock::default(),
            starting: Hands::default(),
            is_settled: watch::Sender::new(false),
            tasks: TaskTracker::new(),
            retiring: CancellationToken::new(),
            closing: closing.clone(),
        });
        Ok(Self { house, _closing: closing.drop_guard() })
    }

    /// Takes up what an earlier life of the platform has left, and fills the pool.
    pub fn start(&self) {
        if can_wait(&self.house.config.spec) {
            self.house.stock(&self.house.config.spec);
        }
        let house = Arc::clone(&self.house);
        self.house.spawn(async move {
            tokio::select! {
                () = keeper::settle(&house) => {}
                () = house.retiring.cancelled() => {}
            }
        });
    }

    /// What each pool has been good for.
    pub fn report(&self) -> Vec<Report> {
        let now = Instant::now();
        let mut reports: Vec<_> = self.house.stocks().iter().map(|stock| stock.report(now)).collect();
        reports.sort_by_key(|report| (report.image.clone(), report.oci_runtime.name()));
        reports
    }

    /// The slot by which the runtime below knows the container of `slot`.
    pub fn container_of(&self, slot: &SlotId) -> SlotId {
        self.house.container_of(slot)
    }

    /// Stops making containers, and removes all that wait. Those that were claimed stay.
    pub async fn dissolve(&self) {
        self.house.retiring.cancel();
        self.house.tasks.close();
        self.house.tasks.wait().await;
        for stock in self.house.stocks() {
            while let Some(slot) = stock.take(Instant::now()) {
                self.house.discard(slot.known, "the pool is dissolved").await;
            }
        }
        if let Some(seats) =
            self.house.seats.as_ref().filter(|seats| seats.all().is_ok_and(|all| all.is_empty()))
        {
            seats.close();
        }
    }
}

#[async_trait]
impl Runtime for Pool {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let job = &placement.slot;
        let conflict = || RuntimeError::new(RuntimeErrorKind::Conflict, format!("slot {job} is taken"));
        let _starting = self.house.starting.take(job, 0).ok_or_else(conflict)?;
        if self.house.ledger.claimed_by(job).is_some() {
            return Err(conflict());
        }
        if !can_wait(spec) {
            return self.house.below.create(spec, placement).await;
        }
        let stock = self.house.stock(spec);
        stock.arrival(Instant::now());
        if self.house.claim(&stock, spec, placement).await? {
            stock.changed.notify_one();
            return Ok(());
        }
        let _cold = stock.cold();
        let began = Instant::now();
        self.house.below.create(spec, placement).await?;
        stock.lock().tally.made(began.elapsed());
        Ok(())
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        self.house.below.invoke(&self.house.container_of(slot), invocation).await
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        self.house.below.reattach(&self.house.container_of(slot)).await
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let container = self.house.container_of(slot);
        self.house.below.remove(&container).await?;
        if container != *slot {
            self.house.clear(&container).await;
            self.house.ledger.release(slot);
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let listed = self.house.below.list().await?;
        let claims = self.house.ledger.all_claims().map_err(unreadable)?;
        let named = |listed: Listed| match claims.get(&listed.slot) {
            Some(job) => Some(Listed { slot: job.clone(), ..listed }),
            None => Some(listed).filter(|listed| !is_of_pool(&listed.slot)),
        };
        Ok(listed.into_iter().filter_map(named).collect())
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.house.below.info().await
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("below", &self.house.below).finish_non_exhaustive()
    }
}

/// Tries whether this process may mount workspaces where containers can see them. That an engine's do see them is
/// known once one waits.
///
/// # Errors
/// It may not, or cannot try.
pub fn can_mount() -> io::Result<()> {
    let directory = std::env::temp_dir().join(format!("mgx-seats-{}", std::process::id()));
    let tried = Seats::open(&directory).map(|seats| seats.close());
    std::fs::remove_dir(&directory)?;
    tried
}

/// What became of one container that waited.
enum Bound {
    /// It is the job's.
    Claimed,
    /// It waits on: it cannot be made what this job needs.
    Unfit(Slot),
    /// It waits on: the job has a container.
    Taken(Slot),
    /// It is not what it should be.
    Doubtful(Known, String),
}

impl House {
    /// Takes a container that waits for the job of `placement`. False: there is none that fits.
    async fn claim(
        self: &Arc<Self>,
        stock: &Stock,
        spec: &ContainerSpec,
        placement: &Placement,
    ) -> Result<bool, RuntimeError> {
        let began = Instant::now();
        for _ in 0..TRIES {
            let Some(slot) = stock.take(Instant::now()) else { return Ok(false) };
            match self.bind(slot, spec, placement).await {
                Bound::Claimed => {
                    let took = began.elapsed();
                    debug!(job = %placement.slot, ?took, "a container that waited is claimed");
                    stock.lock().tally.hit(took);
                    return Ok(true);
                }
                Bound::Unfit(slot) => {
                    self.put_back(stock, slot);
                    return Ok(false);
                }
                Bound::Taken(slot) => {
                    self.put_back(stock, slot);
                    let message = format!("slot {} is taken", placement.slot);
                    return Err(RuntimeError::new(RuntimeErrorKind::Conflict, message));
                }
                Bound::Doubtful(known, why) => {
                    stock.lock().tally.quarantined += 1;
                    self.quarantine(known, why);
                }
            }
        }
        Ok(false)
    }

    /// Makes `slot` the container of the job of `placement`.
    async fn bind(&self, slot: Slot, spec: &ContainerSpec, placement: &Placement) -> Bound {
        let workspace = match (&placement.workspace, &self.seats) {
            (None, _) => None,
            (Some(Workspace::Directory(directory)), Some(seats)) if slot.is_reached => {
                Some((seats, directory))
            }
            (Some(Workspace::Directory(_) | Workspace::Seat(_)), _) => return Bound::Unfit(slot),
        };
        let limits = match (&slot.cgroup, slot.shape == spec.limits) {
            (_, true) => None,
            (Some(cgroup), false) => Some(cgroup),
            (None, false) => return Bound::Unfit(slot),
        };
        let (id, job) = (slot.known.slot(), &placement.slot);
        match self.ledger.claim(id, job) {
            Ok(true) => {}
            Ok(false) => return Bound::Taken(slot),
            Err(error) => {
                let why = format!("the ledger does not have it: {error}");
                return Bound::Doubtful(slot.known, why);
            }
        }
        let limited = limits.map(|cgroup| cgroup.set(&slot.shape, &spec.limits)).transpose();
        let limited = limited.map_err(|error| format!("its limits cannot be set: {error}"));
        let seat = |()| workspace.map(|(seats, directory)| seats.seat(id, directory)).transpose();
        let seated = limited.map(Option::unwrap_or_default).map(seat);
        let confirmed = match seated {
            Ok(Ok(seated)) => match slot.parked.claim(CLAIM_LIMIT).await {
                Ok(claimed) if seated.is_none_or(|seated| claimed.workspace == Some(seated)) => Ok(()),
                Ok(_) => Err("its runner does not see the workspace".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            Ok(Err(error)) => Err(format!("the workspace cannot be mounted: {error}")),
            Err(why) => Err(why),
        };
        match confirmed {
            Ok(()) => Bound::Claimed,
            Err(why) => {
                self.ledger.release(job);
                Bound::Doubtful(slot.known, why)
            }
        }
    }

    fn put_back(self: &Arc<Self>, stock: &Stock, slot: Slot) {
        if let Some(slot) = stock.put(slot, Instant::now()) {
            self.quarantine(slot.known, "there is no room for it".to_owned());
        }
    }

    /// Throws a container away, in the background.
    fn quarantine(self: &Arc<Self>, known: Known, why: String) {
        let house = Arc::clone(self);
        self.spawn(async move { house.discard(known, &why).await });
    }

    /// Throws a container away. If the engine does not do it, it is left over and found by the next sweep.
    async fn discard(&self, known: Known, why: &str) {
        let slot = known.slot();
        debug!(%slot, why, "a container that waited is thrown away");
        match self.below.remove(slot).await {
            Ok(()) => self.clear(slot).await,
            Err(error) => warn!(%slot, %error, "a container of the pool is left over for now"),
        }
        self.ledger.forget(slot);
    }

    /// Takes away what was made on the host for the container of `slot`, which is gone.
    async fn clear(&self, slot: &SlotId) {
        let Some(seats) = self.seats.clone() else { return };
        let slot = slot.clone();
        // the kernel may take a tenth of a second to unmount
        tokio::task::spawn_blocking(move || seats.clear(&slot)).await.ok();
    }

    fn container_of(&self, slot: &SlotId) -> SlotId {
        self.ledger.claimed_by(slot).unwrap_or_else(|| slot.clone())
    }

    /// The stock for containers of `spec`; with a keeper, if it is new.
    fn stock(self: &Arc<Self>, spec: &ContainerSpec) -> Arc<Stock> {
        let key = Key::of(spec);
        if let Some(stock) = self.stocks.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(stock);
        }
        let mut stocks = self.stocks.write().unwrap_or_else(PoisonError::into_inner);
        let stock = stocks.entry(key).or_insert_with(|| {
            let min = if Key::of(&self.config.spec) == Key::of(spec) { self.config.bounds.min } else { 0 };
            let bounds = Bounds { min, ..self.config.bounds };
            let stock = Arc::new(Stock::new(spec.clone(), bounds, Instant::now()));
            self.spawn(keeper::keep(Arc::clone(self), Arc::clone(&stock)));
            stock
        });
        Arc::clone(stock)
    }

    fn stocks(&self) -> Vec<Arc<Stock>> {
        self.stocks.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// Runs `task` until it ends or the pool does.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = closing.cancelled() => {}
            }
        });
    }
}

fn is_of_pool(slot: &SlotId) -> bool {
    slot.as_str().starts_with(PREFIX)
}

fn unreadable(error: io::Error) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Unavailable, "cannot read the pool's ledger").because(error)
}

fn unwritable(error: io::Error) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Refused, "cannot write the pool's ledger").because(error)
}
