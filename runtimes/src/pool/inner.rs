//! The state that the pool shares with its tasks, and the removal of its containers.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use mgx_protocol::SlotId;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::ledger::Ledger;
use super::owned::{OwnedContainer, OwnedContainers};
use super::sizing::Bounds;
use super::subpool::{IdleContainer, PoolKey, SubPool};
use super::workspace_mounts::WorkspaceMounts;
use crate::{ContainerSpec, PoolableRuntime, RuntimeError, RuntimeErrorKind};

/// The beginning of the pool's slots; no job's slot has it.
pub(super) const SLOT_PREFIX: &str = "pool-";

/// The directory of the mounted workspaces below [`PoolConfig::directory`]. The name stays, because a server of an earlier
/// version may have mounts there.
const MOUNTS_DIRECTORY: &str = "seats";

/// The configuration of a pool.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The directory of the ledger, and of the mounted workspaces; as the engine sees it.
    pub directory: PathBuf,
    /// The containers that are warm from the start. Others are made once a job has asked for them.
    pub spec: ContainerSpec,
    /// The build of the image: warm containers of another build are removed after a restart.
    pub generation: String,
    /// How many containers of each subpool are warm.
    pub bounds: Bounds,
    /// How much memory all warm containers may use together, in bytes.
    pub memory_bytes: u64,
    /// How many containers of each subpool are made at a time.
    pub refill: usize,
}

/// The state that the pool shares with its tasks.
pub(super) struct PoolInner {
    pub(super) below: Arc<dyn PoolableRuntime>,
    pub(super) config: PoolConfig,
    pub(super) ledger: Ledger,
    /// Where workspaces are mounted; `None` if this process cannot mount them.
    pub(super) mounts: Option<Arc<WorkspaceMounts>>,
    /// The containers that this process is responsible for.
    pub(super) owned: OwnedContainers,
    pub(super) subpools: RwLock<HashMap<PoolKey, Arc<SubPool>>>,
    /// The jobs' slots whose container is being made or claimed.
    pub(super) starting: OwnedContainers,
    /// Whether the containers of an earlier process have been adopted.
    pub(super) is_recovered: watch::Sender<bool>,
    pub(super) tasks: TaskTracker,
    /// The pool is being dissolved: no further container is made, and those that are being made are finished.
    pub(super) dissolving: CancellationToken,
    /// The [`Pool`](super::Pool) was dropped: its tasks end at once.
    pub(super) closing: CancellationToken,
}

impl PoolInner {
    /// The state of a new pool.
    ///
    /// # Errors
    /// The directory of the ledger cannot be made.
    pub(super) fn open(below: Arc<dyn PoolableRuntime>, config: PoolConfig) -> io::Result<Self> {
        let ledger = Ledger::open(&config.directory)?;
        let mounts = WorkspaceMounts::open(&config.directory.join(MOUNTS_DIRECTORY));
        if let Err(error) = &mounts {
            info!(%error, "cannot mount workspaces into running containers: jobs with a workspace start cold");
        }
        Ok(Self {
            below,
            config,
            ledger,
            mounts: mounts.ok().map(Arc::new),
            owned: OwnedContainers::default(),
            subpools: RwLock::default(),
            starting: OwnedContainers::default(),
            is_recovered: watch::Sender::new(false),
            tasks: TaskTracker::new(),
            dissolving: CancellationToken::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Puts a container into `subpool`, or removes it if there is no room.
    pub(super) fn put(self: &Arc<Self>, subpool: &SubPool, container: IdleContainer) {
        if let Some(container) = subpool.put(container, Instant::now()) {
            self.discard_in_background(container.owned, "there is no room for it".to_owned());
        }
    }

    /// Removes a container of the pool in a task of its own.
    pub(super) fn discard_in_background(self: &Arc<Self>, owned: OwnedContainer, why: String) {
        let inner = Arc::clone(self);
        self.spawn(async move { inner.discard(owned, &why).await });
    }

    /// Removes a container of the pool. If the engine fails to, the next search for leftovers removes it.
    pub(super) async fn discard(&self, owned: OwnedContainer, why: &str) {
        let slot = owned.slot();
        debug!(%slot, why, "a container of the pool is removed");
        match self.below.remove(slot).await {
            Ok(()) => self.clear(slot).await,
            Err(error) => {
                warn!(%slot, %error, "cannot remove a container of the pool; it is tried again later");
            }
        }
        self.ledger.forget(slot);
    }

    /// Unmounts what was mounted for the container of `slot`, which is gone.
    pub(super) async fn clear(&self, slot: &SlotId) {
        let Some(mounts) = self.mounts.clone() else { return };
        let slot = slot.clone();
        // the kernel may take a tenth of a second to unmount
        tokio::task::spawn_blocking(move || mounts.clear(&slot)).await.ok();
    }

    /// The slot under which the runtime below has the container of `slot`.
    pub(super) fn container_of(&self, slot: &SlotId) -> SlotId {
        self.ledger.claimed_by(slot).unwrap_or_else(|| slot.clone())
    }

    pub(super) fn subpools(&self) -> Vec<Arc<SubPool>> {
        self.subpools.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// Runs `task` until it ends or the pool does.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = closing.cancelled() => {}
            }
        });
    }
}

/// Whether `slot` is a slot of the pool and not a job's.
pub(super) fn is_of_pool(slot: &SlotId) -> bool {
    slot.as_str().starts_with(SLOT_PREFIX)
}

pub(super) fn unreadable(error: io::Error) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Unavailable, "cannot read the pool's ledger").because(error)
}

pub(super) fn unwritable(error: io::Error) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Refused, "cannot write the pool's ledger").because(error)
}
