//! The newest events of a session with open streams of one form: read once, encoded once, and shared by all of them.
//!
//! One task per session and form reads the log whenever the log says that events were added. A stream that is further behind reads
//! the log itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mgx_protocol::{EventKind, SessionId};
use mgx_scheduler::{EventLog, Head, JournalError};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::block::{Block, FrameForm, PAGE, Part};

/// How many bytes of frames are kept for streams that are a little behind.
const KEPT_BYTES: usize = 128 * 1024;

/// The pause after new events, per stream that took them. A write to a socket costs about half of that on
/// either end; events that come during the pause share the next write.
const PER_READER: Duration = Duration::from_micros(20);

/// The longest such pause.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// How often the log is read without a notification, and how long after the store did not answer.
const READ_INTERVAL: Duration = Duration::from_secs(15);
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The newest events of one session. Its task ends when the session's last stream closes.
#[derive(Debug)]
pub(crate) struct Tail {
    shared: Arc<Shared>,
    _reading: AbortOnDropHandle<()>,
}

/// How far the log has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The newest event.
    seq: u64,
    /// Whether every job had ended with it.
    finished: bool,
}

/// What there is after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// These events.
    Part(Part),
    /// Events that are not kept here: the stream reads them from the log.
    NotKept,
    /// No event yet; with `finished`, none before another job is submitted.
    Nothing {
        /// Whether every job has ended.
        finished: bool,
    },
}

#[derive(Debug)]
struct Shared {
    form: FrameForm,
    blocks: Mutex<VecDeque<Block>>,
    edge: watch::Sender<Edge>,
    /// Parts that streams took since the last pause.
    taken: AtomicU32,
}

impl Tail {
    /// Starts the task that reads the log from `head` on.
    pub(crate) fn start(log: EventLog, session: SessionId, head: Head, form: FrameForm) -> Self {
        let edge = Edge { seq: head.seq, finished: head.has_finished() };
        let shared = Arc::new(Shared {
            form,
            blocks: Mutex::default(),
            edge: watch::Sender::new(edge),
            taken: AtomicU32::new(0),
        });
        let reading = tokio::spawn(read(shared.clone(), log, session));
        Self { shared, _reading: AbortOnDropHandle::new(reading) }
    }

    /// Notifies when events were added.
    pub(crate) fn edge(&self) -> watch::Receiver<Edge> {
        self.shared.edge.subscribe()
    }

    /// What there is after event number `after`, at most `limit` events of it.
    pub(crate) fn after(&self, after: u64, limit: usize) -> Found {
        let edge = *self.shared.edge.borrow();
        if after >= edge.seq {
            return Found::Nothing { finished: edge.finished && after == edge.seq };
        }
        let blocks = self.shared.blocks();
        let at = blocks.partition_point(|block| block.last() <= after);
        match blocks.get(at).and_then(|block| block.after(after, limit)) {
            Some(part) => {
                self.shared.taken.fetch_add(1, Ordering::Relaxed);
                Found::Part(part)
            }
            None => Found::NotKept,
        }
    }
}

/// Reads the log as it grows.
async fn read(shared: Arc<Shared>, log: EventLog, session: SessionId) {
    // subscribe before the first page: an event that is stored between the two is not missed
    let mut changes = log.subscribe(&session);
    loop {
        changes.borrow_and_update();
        match shared.advance(&log, &session).await {
            Ok(true) => {
                let pause = PER_READER * shared.taken.swap(0, Ordering::Relaxed);
                // the timer's step is a millisecond
                if pause >= Duration::from_millis(1) {
                    sleep(pause.min(MAX_PAUSE)).await;
                }
                continue;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%session, %error, "cannot read the log, trying again");
                sleep(RETRY_PAUSE).await;
                continue;
            }
        }
        tokio::select! {
            notified = changes.changed() => if notified.is_err() { return },
            () = sleep(READ_INTERVAL) => {}
        }
    }
}

impl Shared {
    /// Reads one more page. Whether there was one.
    async fn advance(&self, log: &EventLog, session: &SessionId) -> Result<bool, JournalError> {
        let seq = self.edge.borrow().seq;
        let events = log.page(session, seq, PAGE).await?;
        let Some(last) = events.last() else { return Ok(false) };
        // all jobs can have ended only with a `finish` event
        let head = if last.kind == EventKind::Finish { Some(log.head(session).await?) } else { None };
        let edge = Edge {
            seq: last.seq,
            finished: head.is_some_and(|head| head.has_finished() && head.seq == last.seq),
        };
        let mut blocks = self.blocks();
        let mut rest = &events[..];
        while !rest.is_empty() {
            let block = Block::of(rest, self.form);
            rest = &rest[block.len()..];
            blocks.push_back(block);
        }
        let mut bytes: usize = blocks.iter().map(Block::bytes).sum();
        while bytes > KEPT_BYTES && blocks.len() > 1 {
            bytes -= blocks.pop_front().map_or(0, |block| block.bytes());
        }
        drop(blocks);
        self.edge.send_replace(edge);
        Ok(true)
    }

    fn blocks(&self) -> MutexGuard<'_, VecDeque<Block>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
