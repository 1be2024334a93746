//! A runtime that records when the scheduler calls it, and when each call is done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use async_trait::async_trait;
use mgx_protocol::Invocation;
use mgx_protocol::{JobId, SlotId};
use mgx_runtimes::{ContainerSpec, EngineInfo, Listed, Placement, Pool, Run, Runtime, RuntimeError};

/// A runtime whose calls are recorded.
#[derive(Debug)]
pub(super) struct RecordingRuntime {
    below: Arc<dyn Runtime>,
    pool: Option<Arc<Pool>>,
    recorder: Recorder,
}

/// The recorded times, by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<HashMap<SlotId, ContainerTimes>>>);

/// The recorded times of one container.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ContainerTimes {
    /// The job that it was invoked for.
    job: Option<JobId>,
    /// When `create` was called.
    pub(super) create: Option<Instant>,
    /// When `create` was done: its runner was ready.
    pub(super) ready: Option<Instant>,
    /// When `invoke` was done.
    pub(super) invoke: Option<Instant>,
    /// When `remove` was done.
    pub(super) removed: Option<Instant>,
    /// Whether it came from the warm pool.
    pub(super) is_hit: bool,
}

impl RecordingRuntime {
    /// Records the calls of `below`, which has the warm pool `pool`, in `recorder`.
    pub(super) fn new(below: Arc<dyn Runtime>, pool: Option<Arc<Pool>>, recorder: Recorder) -> Self {
        Self { below, pool, recorder }
    }
}

impl Recorder {
    /// The times of the container of each job.
    pub(super) fn by_job(&self) -> HashMap<JobId, ContainerTimes> {
        self.lock().values().filter_map(|times| Some((times.job?, *times))).collect()
    }

    /// Whether every container that was created has been removed.
    pub(super) fn is_quiet(&self) -> bool {
        self.lock().values().all(|times| times.removed.is_some())
    }

    /// Forgets all times.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn record(&self, slot: &SlotId, change: impl FnOnce(&mut ContainerTimes)) {
        change(self.lock().entry(slot.clone()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, ContainerTimes>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[async_trait]
impl Runtime for RecordingRuntime {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        let began = Instant::now();
        self.recorder.record(slot, |times| {
            *times = ContainerTimes { create: Some(began), ..ContainerTimes::default() }
        });
        let created = self.below.create(spec, placement).await;
        let now = Instant::now();
        match &created {
            Ok(()) => self.recorder.record(slot, |times| times.ready = Some(now)),
            // the runtime has removed it again
            Err(_) => self.recorder.record(slot, |times| times.removed = Some(now)),
        }
        created
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        let job = invocation.job;
        let invoked = self.below.invoke(slot, invocation).await;
        let now = Instant::now();
        self.recorder.record(slot, |times| (times.job, times.invoke) = (Some(job), Some(now)));
        invoked
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        self.below.reattach(slot).await
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        // queried here, because no job waits for a removal
        let is_hit = self.pool.as_ref().is_some_and(|pool| pool.container_of(slot) != *slot);
        self.below.remove(slot).await?;
        let now = Instant::now();
        self.recorder
            .record(slot, |times| (times.is_hit, times.removed) = (is_hit || times.is_hit, Some(now)));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.below.list().await
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.below.info().await
    }
}
