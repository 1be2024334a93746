//! The spool: events that the platform has not acknowledged, numbered without gaps, in order, bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use mgx_protocol::{AgentEvent, EventKind, FromRunner, JsonFrames, ToRunner};
use serde_json::{Map, Value};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::codec::Encoder;

/// How many events may wait.
const MAX_EVENTS: usize = 16_384;

/// How many bytes of frames may wait at most, and at least.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const MIN_BYTES: usize = 1024 * 1024;

/// Which part of the container's memory may be taken by frames that wait: the command needs the rest.
const SHARE_OF_MEMORY: u64 = 8;

/// Bytes added to a frame's size for its number, whose length is not known before, and for what it takes in memory beside
/// its bytes.
const FRAME_BYTES: usize = 256;

/// The spool. Clones share it; the link is its one reader.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    events: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
    grown: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    frames: VecDeque<Frame>,
}

/// An event as it is sent, and its permits, which return when it is dropped.
#[derive(Debug)]
struct Frame {
    seq: u64,
    wire: Bytes,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Spool {
    /// An empty spool.
    pub(crate) fn new() -> Self {
        Self::bounded(MAX_EVENTS, MAX_BYTES)
    }

    fn bounded(events: usize, bytes: usize) -> Self {
        Self {
            events: Arc::new(Semaphore::new(events)),
            bytes: Arc::new(Semaphore::new(bytes)),
            waiting: Arc::default(),
            grown: Arc::default(),
        }
    }

    /// Keeps within a share of the memory of the container, from now on; 0: unknown. Called once, before the first event.
    pub(crate) fn limit(&self, memory_bytes: u64) {
        if memory_bytes > 0 {
            let share = usize::try_from(memory_bytes / SHARE_OF_MEMORY).unwrap_or(usize::MAX);
            self.bytes.forget_permits(MAX_BYTES - share.clamp(MIN_BYTES, MAX_BYTES));
        }
    }

    /// Numbers an event that happens now and keeps it; waits while the spool is full.
    pub(crate) async fn push(&self, kind: EventKind, agent: Option<&str>, data: Map<String, Value>) {
        let event = AgentEvent { seq: 0, at: Timestamp::now(), kind, agent: agent.map(Into::into), data };
        let mut frame = FromRunner::Event(event);
        let Some(size) = encode(&frame).map(|wire| wire.len() + FRAME_BYTES) else { return };
        let Ok(size) = u32::try_from(size) else { return };
        let Ok(one) = Arc::clone(&self.events).acquire_owned().await else { return };
        let Ok(room) = Arc::clone(&self.bytes).acquire_many_owned(size).await else { return };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = waiting.last + 1;
        if let FromRunner::Event(event) = &mut frame {
            event.seq = seq;
        }
        let Some(wire) = encode(&frame) else { return };
        waiting.last = seq;
        waiting.frames.push_back(Frame { seq, wire, _permits: [one, room] });
        drop(waiting);
        self.grown.notify_one();
    }

    /// Removes every event up to and including `seq`.
    pub(crate) fn ack(&self, seq: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.frames.front().is_some_and(|frame| frame.seq <= seq) {
            waiting.frames.pop_front();
        }
    }

    /// The next events after number `seq`, one to about `limit` bytes of frames, and the number of the last.
    pub(crate) fn after(&self, seq: u64, limit: usize) -> Option<(u64, Bytes)> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.frames.partition_point(|frame| frame.seq <= seq);
        let mut frames = waiting.frames.range(first..);
        let frame = frames.next()?;
        let (mut last, mut wire) = (frame.seq, BytesMut::from(&frame.wire[..]));
        for frame in frames {
            if wire.len() + frame.wire.len() > limit {
                break;
            }
            wire.put_slice(&frame.wire);
            last = frame.seq;
        }
        Some((last, wire.freeze()))
    }

    /// The number of the newest event; 0 if there was none.
    pub(crate) fn last(&self) -> u64 {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// Waits until an event was added since the last call.
    pub(crate) async fn grown(&self) {
        self.grown.notified().await;
    }
}

/// The bytes of a frame; `None` if it is too large, which the limits of its data rule out.
fn encode(frame: &FromRunner) -> Option<Bytes> {
    let mut wire = BytesMut::new();
    JsonFrames::<ToRunner, FromRunner>::default().encode(frame, &mut wire).ok()?;
    // a copy has no room to spare, which a buffer that has grown has
    Some(Bytes::copy_from_slice(&wire))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio_util::codec::Decoder;

    fn numbers(spool: &Spool, after: u64, limit: usize) -> Vec<u64> {
        let Some((_, wire)) = spool.after(after, limit) else { return Vec::new() };
        let mut wire = BytesMut::from(&wire[..]);
        let mut codec = JsonFrames::<FromRunner, ToRunner>::default();
        std::iter::from_fn(|| codec.decode(&mut wire).unwrap())
            .map(|frame| match frame {
                FromRunner::Event(event) => event.seq,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn what_was_not_acknowledged_is_there_again_in_order() {
        let spool = Spool::new();
        for _ in 0..5 {
            spool.push(EventKind::Log, None, Map::new()).await;
        }
        assert_eq!(numbers(&spool, 0, usize::MAX), [1, 2, 3, 4, 5]);
        spool.ack(3);
        assert_eq!(numbers(&spool, 0, usize::MAX), [4, 5]);
        assert_eq!(numbers(&spool, 4, usize::MAX), [5]);
        assert_eq!(numbers(&spool, 3, 1), [4], "one event always fits");
        spool.ack(u64::MAX);
        assert_eq!(numbers(&spool, 0, usize::MAX), [0; 0]);
        spool.push(EventKind::Log, None, Map::new()).await;
        assert_eq!(numbers(&spool, 0, usize::MAX), [6], "numbers go on");
    }

    #[tokio::test]
    async fn a_full_spool_makes_its_producers_wait_for_an_acknowledgement() {
        for spool in [Spool::bounded(1, MAX_BYTES), Spool::bounded(MAX_EVENTS, 400)] {
            spool.push(EventKind::Log, None, Map::new()).await;
            let second = spool.push(EventKind::Log, None, Map::new());
            tokio::pin!(second);
            assert!((&mut second).now_or_never().is_none(), "no room");
            assert_eq!(spool.last(), 1, "and no number without room");
            spool.ack(1);
            second.await;
            assert_eq!(numbers(&spool, 0, usize::MAX), [2]);
        }
    }
}
