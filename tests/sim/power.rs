//! Power cuts: everything that a process of the platform does to the outside goes through here, and from the moment
//! the power is off nothing it does reaches anything, nor does it ever learn what became of what it did last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mgx_protocol::Invocation;
use mgx_protocol::{JobId, SessionId, SlotId};
use mgx_runtimes::fake::Fake;
use mgx_runtimes::{ContainerSpec, EngineInfo, Listed, Placement, Run, Runtime, RuntimeError};
use mgx_scheduler::memory::MemoryJournal;
use mgx_scheduler::{Entry, Event, Head, HistorySize, Job, JobFilter, Journal, JournalError};
use tokio_util::sync::CancellationToken;

/// One process's supply; off for ever when it is cancelled.
pub(crate) type Supply = CancellationToken;

/// Does it, unless the power is off; answers, unless the power has gone off meanwhile.
async fn powered<T>(supply: &Supply, work: impl Future<Output = T>) -> T {
    slowly(supply, Duration::ZERO, work).await
}

/// The same, with a time between the deed and the news of it, in which a crash may come.
async fn slowly<T>(supply: &Supply, news: Duration, work: impl Future<Output = T>) -> T {
    if supply.is_cancelled() {
        return std::future::pending().await;
    }
    let answer = tokio::select! {
        biased;
        () = supply.cancelled() => std::future::pending().await,
        answer = work => answer,
    };
    // a timer takes a tick even for no time at all
    if !news.is_zero() {
        tokio::time::sleep(news).await;
    }
    if supply.is_cancelled() { std::future::pending().await } else { answer }
}

/// A journal as one process has it.
#[derive(Debug)]
pub(crate) struct PoweredJournal {
    pub(crate) inner: Arc<MemoryJournal>,
    pub(crate) supply: Supply,
    /// How long a write takes, until it is done and until its author knows: up to this each.
    pub(crate) slowness: Duration,
    /// How many writes there were: each takes another time.
    pub(crate) writes: AtomicU32,
    /// Whether a write is done when it says so: a red control.
    pub(crate) keeps: bool,
}

#[async_trait]
impl Journal for PoweredJournal {
    async fn write(&self, entry: Entry) -> Result<Vec<Event>, JournalError> {
        let turn = self.writes.fetch_add(1, Ordering::Relaxed);
        let (inner, supply) = (self.inner.clone(), self.supply.clone());
        let time = self.slowness * (turn * 7 % 5) / 4;
        let write = async move {
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            powered(&supply, inner.write(entry)).await
        };
        if self.keeps {
            slowly(&self.supply, self.slowness, write).await
        } else {
            tokio::spawn(write);
            Ok(Vec::new())
        }
    }
    async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        powered(&self.supply, self.inner.job(id)).await
    }
    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        powered(&self.supply, self.inner.jobs(filter)).await
    }
    async fn unfinished(&self) -> Result<Vec<Job>, JournalError> {
        powered(&self.supply, self.inner.unfinished()).await
    }
    async fn events(
        &self,
        session: &SessionId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        powered(&self.supply, self.inner.events(session, after, limit)).await
    }
    async fn size(&self, session: &SessionId) -> Result<HistorySize, JournalError> {
        powered(&self.supply, self.inner.size(session)).await
    }
    async fn head(&self, session: &SessionId) -> Result<Head, JournalError> {
        powered(&self.supply, self.inner.head(session)).await
    }
}

/// An engine as one process has it.
#[derive(Debug)]
pub(crate) struct PoweredRuntime {
    pub(crate) inner: Fake,
    pub(crate) supply: Supply,
    /// Whether containers that nobody claims are shown: a red control.
    pub(crate) lists: bool,
}

#[async_trait]
impl Runtime for PoweredRuntime {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        powered(&self.supply, self.inner.create(spec, placement)).await
    }
    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        powered(&self.supply, self.inner.invoke(slot, invocation)).await
    }
    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        powered(&self.supply, self.inner.reattach(slot)).await
    }
    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        powered(&self.supply, self.inner.remove(slot)).await
    }
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let listed = powered(&self.supply, self.inner.list()).await;
        if self.lists { listed } else { Ok(Vec::new()) }
    }
    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        powered(&self.supply, self.inner.info()).await
    }
}
