//! A runtime for tests: containers that exist in memory, follow a script, and outlive the platform.
//!
//! It waits only on tokio's clock, so that an hour passes in a millisecond under a paused clock, and two runs of a script
//! produce the same events.

mod container;
mod script;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use mgx_protocol::{Attempt, Invocation, JobId, SlotId};
use tokio::sync::{Notify, mpsc};

use crate::{
    ContainerSpec, EngineInfo, Listed, Placement, PoolableRuntime, Run, Runtime, RuntimeError,
    RuntimeErrorKind, WarmContainer,
};
use container::Container;
pub use script::{Act, Creation, OnStop, Script};

/// Decides how the creation of the container in a slot goes.
pub type Creations = dyn Fn(&ContainerSpec, &SlotId) -> Creation + Send + Sync;
/// Decides what an invocation does.
pub type Scripts = dyn Fn(&Invocation) -> Script + Send + Sync;

/// The engine's state: the containers, which are still there after the platform that made them has ended.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    creations: Box<Creations>,
    scripts: Box<Scripts>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<SlotId, Arc<Container>>,
    counts: Counts,
}

/// What has happened in a [`World`], for checking that nothing was lost or done twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Containers that were made.
    pub created: u64,
    /// The most containers that existed at a time.
    pub most: usize,
    /// Every invocation that a container has received, in order.
    pub invoked: Vec<Invoked>,
}

/// An invocation that a container has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoked {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The jobs whose commands ran at that moment, in other containers.
    pub beside: Vec<JobId>,
}

/// The fake runtime: one process's view of a [`World`].
#[derive(Clone, Debug)]
pub struct Fake {
    world: World,
}

impl World {
    /// A world without containers, in which each is created and run as these functions decide.
    pub fn new(
        creations: impl Fn(&ContainerSpec, &SlotId) -> Creation + Send + Sync + 'static,
        scripts: impl Fn(&Invocation) -> Script + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner { creations: Box::new(creations), scripts: Box::new(scripts), state }))
    }

    /// The runtime of this world for one process of the platform.
    pub fn runtime(&self) -> Fake {
        Fake { world: self.clone() }
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    /// How many containers exist.
    pub fn container_count(&self) -> usize {
        self.lock().containers.len()
    }

    /// Ends the container of a slot, as SIGKILL to its first process does.
    pub fn kill(&self, slot: &SlotId) {
        if let Some(container) = self.find(slot) {
            container.die(137);
        }
    }

    fn add(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let mut state = self.lock();
        if state.containers.contains_key(slot) {
            return Err(error(RuntimeErrorKind::Conflict, slot));
        }
        state.containers.insert(slot.clone(), Arc::default());
        state.counts.created += 1;
        state.counts.most = state.counts.most.max(state.containers.len());
        Ok(())
    }

    fn find(&self, slot: &SlotId) -> Option<Arc<Container>> {
        self.lock().containers.get(slot).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("state", &self.0.state).finish_non_exhaustive()
    }
}

#[async_trait]
impl Runtime for Fake {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        if self.world.find(slot).is_some() {
            return Err(error(RuntimeErrorKind::Conflict, slot));
        }
        let (after, outcome) = match (self.world.0.creations)(spec, slot) {
            Creation::Ready(after) => (after, self.world.add(slot)),
            Creation::Fails(after, kind) => (after, Err(error(kind, slot))),
            Creation::FailsButExists(after, kind) => {
                (after, self.world.add(slot).and(Err(error(kind, slot))))
            }
        };
        // a timer takes a tick even for a duration of zero
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        outcome
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        let container = self.world.find(slot).ok_or_else(|| error(RuntimeErrorKind::NotFound, slot))?;
        let beside: Vec<_> =
            self.world.lock().containers.values().filter_map(|other| other.busy_with()).collect();
        if !container.invoke((self.world.0.scripts)(&invocation), &invocation) {
            return Err(error(RuntimeErrorKind::Conflict, slot));
        }
        let invoked = Invoked { job: invocation.job, attempt: invocation.attempt, beside };
        self.world.lock().counts.invoked.push(invoked);
        Ok(attach(container))
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        let container = self.world.find(slot).ok_or_else(|| error(RuntimeErrorKind::NotFound, slot))?;
        if !container.is_invoked() && container.is_running() {
            return Err(error(RuntimeErrorKind::NotInvoked, slot));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(attach(container))
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let container = self.world.lock().containers.remove(slot);
        if let Some(container) = container {
            container.remove();
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let state = self.world.lock();
        let listed = state.containers.iter();
        Ok(listed
            .map(|(slot, container)| Listed { slot: slot.clone(), running: container.is_running() })
            .collect())
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        Ok(EngineInfo { name: "fake".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
    }
}

#[async_trait]
impl PoolableRuntime for Fake {
    async fn keep_warm(
        &self,
        slot: &SlotId,
        disconnected: Arc<Notify>,
    ) -> Result<WarmContainer, RuntimeError> {
        let container = self.world.find(slot).ok_or_else(|| error(RuntimeErrorKind::NotFound, slot))?;
        let nonce = container.nonce().ok_or_else(|| error(RuntimeErrorKind::NotReady, slot))?;
        let (warm, claims) = WarmContainer::new(nonce, None);
        tokio::spawn(container::serve_claim(container, nonce, claims, disconnected));
        Ok(warm)
    }
}

fn attach(container: Arc<Container>) -> Run {
    let (outputs, of_run) = mpsc::channel(Run::BACKLOG);
    let (commands, to_container) = mpsc::channel(Run::BACKLOG);
    tokio::spawn(container::connect(container, outputs, to_container));
    Run::new(of_run, commands)
}

fn error(kind: RuntimeErrorKind, slot: &SlotId) -> RuntimeError {
    RuntimeError::new(kind, format!("the fake says so of slot {slot}"))
}
