//! The warm pool: a runtime around another one that makes containers before a job needs them.
//!
//! A warm container belongs to no job: its runner is connected and idle. A start claims one, and then everything of the
//! job is bound to it: its workspace is mounted, its limits are set, and its runner confirms the claim with its nonce.
//! Environment, secrets, command and deadline come with the invocation, as they always do. A container that fails any of
//! this is removed; a start that finds none makes its container as if there were no pool. So a pool can make a start
//! faster and cannot make it fail.
//!
//! The runtime below does not know of the pool. It knows a warm container by a slot of the pool (`pool-…`); the ledger
//! has the job's slot for it.

mod claim;
mod inner;
mod recovery;
mod refill;
mod subpool;

mod cgroup;
mod ledger;
mod mountinfo;
mod owned;
pub mod report;
mod sizing;
mod workspace_mounts;

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use mgx_protocol::{Invocation, SlotId};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::{
    ContainerSpec, EngineInfo, Listed, Placement, PoolableRuntime, Run, Runtime, RuntimeError,
    RuntimeErrorKind,
};
pub use cgroup::memory_of;
pub use inner::PoolConfig;
use inner::{PoolInner, is_of_pool, unreadable};
use report::Report;
pub use sizing::Bounds;
use subpool::can_be_warm;
use workspace_mounts::WorkspaceMounts;

/// A runtime with warm containers.
pub struct Pool {
    inner: Arc<PoolInner>,
    _closing: DropGuard,
}

impl Pool {
    /// A pool around `below`. It makes no containers until it is [started](Self::start), but finds those that were claimed
    /// before.
    ///
    /// # Errors
    /// Its directory cannot be made.
    pub fn open(below: Arc<dyn PoolableRuntime>, config: PoolConfig) -> io::Result<Self> {
        let inner = PoolInner::open(below, config)?;
        let closing = inner.closing.clone();
        Ok(Self { inner: Arc::new(inner), _closing: closing.drop_guard() })
    }

    /// Adopts the warm containers that an earlier process of the platform has left, and fills the pool.
    pub fn start(&self) {
        if can_be_warm(&self.inner.config.spec) {
            refill::subpool_of(&self.inner, &self.inner.config.spec);
        }
        let inner = Arc::clone(&self.inner);
        self.inner.spawn(async move {
            tokio::select! {
                () = recovery::recover(&inner) => {}
                () = inner.dissolving.cancelled() => {}
            }
        });
    }

    /// The numbers of each subpool.
    pub fn report(&self) -> Vec<Report> {
        let now = Instant::now();
        let mut reports: Vec<_> = self.inner.subpools().iter().map(|subpool| subpool.report(now)).collect();
        reports.sort_by_key(|report| (report.image.clone(), report.oci_runtime.name()));
        reports
    }

    /// The slot under which the runtime below has the container of `slot`.
    pub fn container_of(&self, slot: &SlotId) -> SlotId {
        self.inner.container_of(slot)
    }

    /// Stops making containers, and removes the warm ones. Those that were claimed stay.
    pub async fn dissolve(&self) {
        self.inner.dissolving.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        for subpool in self.inner.subpools() {
            while let Some(container) = subpool.take(Instant::now()) {
                self.inner.discard(container.owned, "the pool is dissolved").await;
            }
        }
        if let Some(mounts) =
            self.inner.mounts.as_ref().filter(|mounts| mounts.all().is_ok_and(|all| all.is_empty()))
        {
            mounts.close();
        }
    }
}

#[async_trait]
impl Runtime for Pool {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let job = &placement.slot;
        let conflict = || RuntimeError::new(RuntimeErrorKind::Conflict, format!("slot {job} is taken"));
        let _starting = self.inner.starting.take(job, 0).ok_or_else(conflict)?;
        if self.inner.ledger.claimed_by(job).is_some() {
            return Err(conflict());
        }
        if !can_be_warm(spec) {
            return self.inner.below.create(spec, placement).await;
        }
        let subpool = refill::subpool_of(&self.inner, spec);
        subpool.arrival(Instant::now());
        if claim::claim(&self.inner, &subpool, spec, placement).await? {
            subpool.changed.notify_one();
            return Ok(());
        }
        let _cold_start = subpool.begin_cold_start();
        let began = Instant::now();
        self.inner.below.create(spec, placement).await?;
        subpool.lock().counters.made(began.elapsed());
        Ok(())
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        self.inner.below.invoke(&self.inner.container_of(slot), invocation).await
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        self.inner.below.reattach(&self.inner.container_of(slot)).await
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let container = self.inner.container_of(slot);
        self.inner.below.remove(&container).await?;
        if container != *slot {
            self.inner.clear(&container).await;
            self.inner.ledger.release(slot);
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let listed = self.inner.below.list().await?;
        let claims = self.inner.ledger.all_claims().map_err(unreadable)?;
        let named = |listed: Listed| match claims.get(&listed.slot) {
            Some(job) => Some(Listed { slot: job.clone(), ..listed }),
            None => Some(listed).filter(|listed| !is_of_pool(&listed.slot)),
        };
        Ok(listed.into_iter().filter_map(named).collect())
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.inner.below.info().await
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("below", &self.inner.below).finish_non_exhaustive()
    }
}

/// Tries whether this process may mount workspaces so that containers can see them. Whether an engine's containers do see
/// them is known with the first warm one.
///
/// # Errors
/// It may not, or the attempt failed.
pub fn can_mount() -> io::Result<()> {
    let directory = std::env::temp_dir().join(format!("mgx-mounts-{}", std::process::id()));
    let tried = WorkspaceMounts::open(&directory).map(|mounts| mounts.close());
    std::fs::remove_dir(&directory)?;
    tried
}
