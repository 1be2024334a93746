//! Consecutive events as the frames of an event stream: encoded once, cut anywhere between two of them, never copied.

use bytes::{Bytes, BytesMut};
use mgx_scheduler::Event;

use super::{event_view, flat_view};

/// How many events are read from the log at a time.
pub(crate) const PAGE: usize = 256;

/// A block of this many bytes takes no further event. Even with the largest event, a connection's buffer and the block
/// that is being written stay within 256 KiB.
const FULL_BYTES: usize = 96 * 1024;

/// The form of the frames of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FrameForm {
    /// The event, with its data as one of its fields.
    #[default]
    Nested,
    /// The fields of the data beside the type, as the original platform sent them.
    Flat,
}

impl FrameForm {
    /// Adds the frame of `event` to `bytes`.
    fn frame(self, event: &Event, bytes: &mut BytesMut) {
        match self {
            Self::Nested => event_view::frame(event, bytes),
            Self::Flat => flat_view::frame(event, bytes),
        }
    }
}

/// Some consecutive events, encoded. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    first: u64,
    /// Where each frame ends.
    ends: Box<[u32]>,
    bytes: Bytes,
}

/// A part of a block: what one reader is given at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The frames.
    pub(crate) bytes: Bytes,
    /// The number of the last event.
    pub(crate) last: u64,
    /// How many events there are.
    pub(crate) count: usize,
}

impl Block {
    /// As many of `events`, which is not empty, as fit, from the first on.
    pub(crate) fn of(events: &[Event], form: FrameForm) -> Self {
        let mut bytes = BytesMut::with_capacity(FULL_BYTES.min(384 * events.len()));
        let mut ends = Vec::with_capacity(events.len());
        for event in events {
            if bytes.len() >= FULL_BYTES {
                break;
            }
            form.frame(event, &mut bytes);
            ends.push(u32::try_from(bytes.len()).expect("a block is small"));
        }
        let first = events.first().map_or(0, |event| event.seq);
        Self { first, ends: ends.into(), bytes: bytes.freeze() }
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes their frames have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.ends.len() as u64 - 1
    }

    /// The events after number `after`, at most `limit`; `None` if the next one is not here.
    pub(crate) fn after(&self, after: u64, limit: usize) -> Option<Part> {
        let skipped = usize::try_from((after + 1).checked_sub(self.first)?).ok()?;
        let count = limit.min(self.ends.len().checked_sub(skipped)?);
        if count == 0 {
            return None;
        }
        let end = |index: usize| index.checked_sub(1).map_or(0, |index| self.ends[index] as usize);
        let bytes = self.bytes.slice(end(skipped)..end(skipped + count));
        Some(Part { bytes, last: after + count as u64, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event_view::tests::event;
    use serde_json::json;

    #[test]
    fn any_part_of_a_block_is_whole_frames() {
        let events: Vec<_> =
            (5..=9).map(|seq| event(seq, "message_delta", json!({ "delta": seq }))).collect();
        let block = Block::of(&events, FrameForm::Nested);
        assert_eq!((block.len(), block.last()), (5, 9));
        for after in 4..9 {
            for limit in 1..=6 {
                let part = block.after(after, limit).unwrap();
                let mut expected = BytesMut::new();
                let wanted: Vec<_> = events.iter().filter(|event| event.seq > after).take(limit).collect();
                for event in &wanted {
                    event_view::frame(event, &mut expected);
                }
                assert_eq!(part.bytes, expected, "{limit} after {after}");
                assert_eq!((part.last, part.count), (wanted.last().unwrap().seq, wanted.len()));
            }
        }
        assert_eq!(block.after(3, 1), None, "the next one was before");
        assert_eq!(block.after(9, 1), None, "the next one comes after");
        assert_eq!(block.after(7, 0), None);
    }

    #[test]
    fn large_events_make_small_blocks() {
        let text = "x".repeat(60 * 1024);
        let events: Vec<_> = (1..=9).map(|seq| event(seq, "log", json!({ "text": text }))).collect();
        let block = Block::of(&events, FrameForm::Nested);
        assert_eq!(block.len(), 2);
        assert!(block.bytes() < 192 * 1024, "{}", block.bytes());
    }
}
