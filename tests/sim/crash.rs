//! Crashes of a process of the platform: every call to the journal and the runtime goes through here, and after the crash
//! no call has an effect or returns, not even one that was under way.

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

/// Cancelled when the process crashes.
pub(crate) type Crash = CancellationToken;

/// Does `work` unless the process has crashed; returns unless it has crashed meanwhile.
async fn until_crash<T>(crash: &Crash, work: impl Future<Output = T>) -> T {
    until_crash_with_delay(crash, Duration::ZERO, work).await
}

/// The same, with a delay between the work and its return, in which a crash may come.
async fn until_crash_with_delay<T>(crash: &Crash, delay: Duration, work: impl Future<Output = T>) -> T {
    if crash.is_cancelled() {
        return std::future::pending().await;
    }
    let answer = tokio::select! {
        biased;
        () = crash.cancelled() => std::future::pending().await,
        answer = work => answer,
    };
    // a timer takes a tick even for no time at all
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if crash.is_cancelled() { std::future::pending().await } else { answer }
}

/// The journal as one process sees it.
#[derive(Debug)]
pub(crate) struct CrashingJournal {
    pub(crate) inner: Arc<MemoryJournal>,
    pub(crate) crash: Crash,
    /// The longest time from a call to its write, and from the write to its return.
    pub(crate) slowness: Duration,
    /// The number of writes so far, from which the time of the next follows.
    pub(crate) writes: AtomicU32,
    /// Whether a write is done when it returns; the red control returns early.
    pub(crate) keeps: bool,
}

#[async_trait]
impl Journal for CrashingJournal {
    async fn write(&self, entry: Entry) -> Result<Vec<Event>, JournalError> {
        let turn = self.writes.fetch_add(1, Ordering::Relaxed);
        let (inner, crash) = (self.inner.clone(), self.crash.clone());
        let time = self.slowness * (turn * 7 % 5) / 4;
        let write = async move {
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            until_crash(&crash, inner.write(entry)).await
        };
        if self.keeps {
            until_crash_with_delay(&self.crash, self.slowness, write).await
        } else {
            tokio::spawn(write);
            Ok(Vec::new())
        }
    }
    async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        until_crash(&self.crash, self.inner.job(id)).await
    }
    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        until_crash(&self.crash, self.inner.jobs(filter)).await
    }
    async fn unfinished(&self) -> Result<Vec<Job>, JournalError> {
        until_crash(&self.crash, self.inner.unfinished()).await
    }
    async fn events(
        &self,
        session: &SessionId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        until_crash(&self.crash, self.inner.events(session, after, limit)).await
    }
    async fn size(&self, session: &SessionId) -> Result<HistorySize, JournalError> {
        until_crash(&self.crash, self.inner.size(session)).await
    }
    async fn head(&self, session: &SessionId) -> Result<Head, JournalError> {
        until_crash(&self.crash, self.inner.head(session)).await
    }
}

/// The runtime as one process sees it.
#[derive(Debug)]
pub(crate) struct CrashingRuntime {
    pub(crate) inner: Fake,
    pub(crate) crash: Crash,
    /// Whether `list` shows the containers; the red control shows none.
    pub(crate) lists: bool,
}

#[async_trait]
impl Runtime for CrashingRuntime {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        until_crash(&self.crash, self.inner.create(spec, placement)).await
    }
    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        until_crash(&self.crash, self.inner.invoke(slot, invocation)).await
    }
    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        until_crash(&self.crash, self.inner.reattach(slot)).await
    }
    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        until_crash(&self.crash, self.inner.remove(slot)).await
    }
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let listed = until_crash(&self.crash, self.inner.list()).await;
        if self.lists { listed } else { Ok(Vec::new()) }
    }
    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        until_crash(&self.crash, self.inner.info()).await
    }
}
