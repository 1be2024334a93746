//! Sees when the scheduler asks its runtime for what, and when that is done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use async_trait::async_trait;
use mgx_protocol::Invocation;
use mgx_protocol::{JobId, SlotId};
use mgx_runtimes::{ContainerSpec, EngineInfo, Listed, Placement, Pool, Run, Runtime, RuntimeError};

/// A runtime that is looked at.
#[derive(Debug)]
pub(super) struct Witness {
    below: Arc<dyn Runtime>,
    pool: Option<Arc<Pool>>,
    notes: Notes,
}

/// What was seen, by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<HashMap<SlotId, Note>>>);

/// What was seen of one container.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Note {
    /// The job that it was given.
    job: Option<JobId>,
    /// When it was asked for.
    pub(super) create: Option<Instant>,
    /// When its runner was ready.
    pub(super) ready: Option<Instant>,
    /// When it had its invocation.
    pub(super) invoke: Option<Instant>,
    /// When it was gone.
    pub(super) removed: Option<Instant>,
    /// Whether it had waited in a pool.
    pub(super) is_hit: bool,
}

impl Witness {
    /// Looks at `below`, whose pool is `pool` if it is one, and takes `notes`.
    pub(super) fn new(below: Arc<dyn Runtime>, pool: Option<Arc<Pool>>, notes: Notes) -> Self {
        Self { below, pool, notes }
    }
}

impl Notes {
    /// What was seen of the container of each job.
    pub(super) fn by_job(&self) -> HashMap<JobId, Note> {
        self.lock().values().filter_map(|note| Some((note.job?, *note))).collect()
    }

    /// Whether every container that was asked for is gone.
    pub(super) fn is_quiet(&self) -> bool {
        self.lock().values().all(|note| note.removed.is_some())
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn note(&self, slot: &SlotId, change: impl FnOnce(&mut Note)) {
        change(self.lock().entry(slot.clone()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, Note>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[async_trait]
impl Runtime for Witness {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        let began = Instant::now();
        self.notes.note(slot, |note| *note = Note { create: Some(began), ..Note::default() });
        let created = self.below.create(spec, placement).await;
        let now = Instant::now();
        match &created {
            Ok(()) => self.notes.note(slot, |note| note.ready = Some(now)),
            // it has been removed again
            Err(_) => self.notes.note(slot, |note| note.removed = Some(now)),
        }
        created
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        let job = invocation.job;
        let invoked = self.below.invoke(slot, invocation).await;
        let now = Instant::now();
        self.notes.note(slot, |note| (note.job, note.invoke) = (Some(job), Some(now)));
        invoked
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        self.below.reattach(slot).await
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        // only now: nobody waits for a removal
        let is_hit = self.pool.as_ref().is_some_and(|pool| pool.container_of(slot) != *slot);
        self.below.remove(slot).await?;
        let now = Instant::now();
        self.notes.note(slot, |note| (note.is_hit, note.removed) = (is_hit || note.is_hit, Some(now)));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.below.list().await
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.below.info().await
    }
}
