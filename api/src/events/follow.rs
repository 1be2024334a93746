//! One reader of a session's log as an event stream: first the stored events, then new ones as they come.

use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{self, Stream};
use mgx_protocol::SessionId;
use mgx_scheduler::{EventLog, JournalError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::block::{Block, FrameForm, PAGE, Part};
use super::event_view::{OPENING, PING};
use super::streams::OpenStream;
use super::tail::{Edge, Found};
use crate::auth::stream_access::{RECHECK_INTERVAL, StreamAccess};

/// How often a stream without events sends a ping.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(15);

/// One reader of a session's log.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Counts the stream as open, and leads to the session's shared newest events.
    pub(crate) open: OpenStream,
    /// The log.
    pub(crate) log: EventLog,
    /// The session.
    pub(crate) session: SessionId,
    /// The form of its frames.
    pub(crate) form: FrameForm,
    /// The number of the last event that the reader has.
    pub(crate) after: u64,
    /// How many more events the reader takes; `None`: all.
    pub(crate) limit: Option<usize>,
    /// Whether the stream waits for further jobs when every job has ended.
    pub(crate) forever: bool,
    /// Ends the stream when the server shuts down; the reader reconnects to the next server.
    pub(crate) closing: CancellationToken,
    /// Ends the stream when the reader loses the right to read it.
    pub(crate) access: StreamAccess,
}

/// What comes next on a stream.
enum Next {
    Part(Part),
    Ping,
    End,
}

/// When the stream next pings, and next checks the reader's access.
struct Timer {
    ping_at: Instant,
    check_at: Instant,
}

impl Follower {
    /// The bytes of the stream. Each chunk holds whole frames.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Bytes, JournalError>> + Send {
        let edge = self.open.tail().edge();
        let timer =
            Timer { ping_at: Instant::now() + PING_EVERY, check_at: Instant::now() + RECHECK_INTERVAL };
        let opening = stream::iter([Ok(Bytes::from_static(OPENING.as_bytes()))]);
        let frames =
            stream::try_unfold((self, edge, timer), |(mut reader, mut edge, mut timer)| async move {
                let chunk = match reader.next(&mut edge, &mut timer).await? {
                    Next::End => return Ok(None),
                    Next::Part(part) => reader.take(part),
                    Next::Ping => {
                        timer.ping_at = Instant::now() + PING_EVERY;
                        Bytes::from_static(PING.as_bytes())
                    }
                };
                Ok(Some((chunk, (reader, edge, timer))))
            });
        stream::StreamExt::chain(opening, frames)
    }

    async fn next(&self, edge: &mut watch::Receiver<Edge>, timer: &mut Timer) -> Result<Next, JournalError> {
        let wanted = self.limit.unwrap_or(PAGE).min(PAGE);
        if wanted == 0 {
            return Ok(Next::End);
        }
        loop {
            if timer.check_at <= Instant::now() {
                timer.check_at = Instant::now() + RECHECK_INTERVAL;
                if !self.access.is_valid().await {
                    return Ok(Next::End);
                }
            }
            edge.borrow_and_update();
            match self.open.tail().after(self.after, wanted) {
                Found::Part(part) => return Ok(Next::Part(part)),
                Found::NotKept => return self.read(wanted).await,
                Found::Nothing { finished } if finished && !self.forever => return Ok(Next::End),
                Found::Nothing { .. } => {}
            }
            tokio::select! {
                changed = edge.changed() => if changed.is_err() { return Ok(Next::End) },
                () = tokio::time::sleep_until(timer.ping_at.min(timer.check_at)) => {
                    if timer.ping_at <= Instant::now() {
                        return Ok(Next::Ping);
                    }
                }
                () = self.closing.cancelled() => return Ok(Next::End),
            }
        }
    }

    /// Reads events that are too old for the shared tail. If they are trimmed the stream ends, and the reader gets
    /// `events-trimmed` when it reconnects.
    async fn read(&self, wanted: usize) -> Result<Next, JournalError> {
        let events = self.log.page(&self.session, self.after, wanted).await?;
        let part =
            if events.is_empty() { None } else { Block::of(&events, self.form).after(self.after, wanted) };
        Ok(part.map_or(Next::End, Next::Part))
    }

    fn take(&mut self, part: Part) -> Bytes {
        self.after = part.last;
        self.limit = self.limit.map(|limit| limit.saturating_sub(part.count));
        part.bytes
    }
}
