//! Following a session's log as an event stream: what is stored first, then what comes.

use std::time::Duration;

use axum::body::Bytes;
use bytes::BytesMut;
use futures_util::stream::{self, Stream};
use mgx_agent_runner::SessionId;
use mgx_scheduler::{Event, EventLog, JournalError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event_view::{OPENING, PING, frame};
use crate::streams::Ticket;

/// How many events are read from the journal at a time: what one reader keeps in memory.
pub(crate) const PAGE: usize = 100;

/// How often a silent stream says that it is alive.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(15);

/// One reader of a session's log.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The log.
    pub(crate) log: EventLog,
    /// The session.
    pub(crate) session: SessionId,
    /// The number of the last event that the reader has.
    pub(crate) after: u64,
    /// How many events it still wants.
    pub(crate) limit: Option<usize>,
    /// Whether it goes on waiting when the session has finished.
    pub(crate) forever: bool,
    /// Ends the stream when the server shuts down; the reader comes back to the next one.
    pub(crate) closing: CancellationToken,
}

/// What comes next on a stream.
enum Next {
    Events(Vec<Event>),
    Ping,
    End,
}

impl Follower {
    /// The bytes of the stream. Each chunk holds whole frames; `ticket` is kept until the stream is dropped.
    pub(crate) fn stream(self, ticket: Ticket) -> impl Stream<Item = Result<Bytes, JournalError>> + Send {
        // the bell before the first page: what is stored between the two is not missed
        let bell = self.log.bell(&self.session);
        let ping_at = Instant::now() + PING_EVERY;
        let opening = stream::iter([Ok(Bytes::from_static(OPENING.as_bytes()))]);
        let frames = stream::try_unfold(
            (self, bell, ping_at, ticket),
            |(mut reader, mut bell, mut ping_at, ticket)| async move {
                let chunk = match reader.next(&mut bell, ping_at).await? {
                    Next::End => return Ok(None),
                    Next::Events(events) => reader.frames(&events),
                    Next::Ping => {
                        ping_at = Instant::now() + PING_EVERY;
                        Bytes::from_static(PING.as_bytes())
                    }
                };
                Ok(Some((chunk, (reader, bell, ping_at, ticket))))
            },
        );
        stream::StreamExt::chain(opening, frames)
    }

    async fn next(&self, bell: &mut watch::Receiver<u64>, ping_at: Instant) -> Result<Next, JournalError> {
        loop {
            let wanted = self.limit.unwrap_or(PAGE).min(PAGE);
            if wanted == 0 {
                return Ok(Next::End);
            }
            bell.borrow_and_update();
            let events = self.log.page(&self.session, self.after, wanted).await?;
            if !events.is_empty() {
                return Ok(Next::Events(events));
            }
            if !self.forever {
                let head = self.log.head(&self.session).await?;
                if head.has_finished() && head.seq <= self.after {
                    return Ok(Next::End);
                }
                if head.seq > self.after {
                    continue;
                }
            }
            tokio::select! {
                rung = bell.changed() => if rung.is_err() { return Ok(Next::End) },
                () = tokio::time::sleep_until(ping_at) => return Ok(Next::Ping),
                () = self.closing.cancelled() => return Ok(Next::End),
            }
        }
    }

    fn frames(&mut self, events: &[Event]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(256 * events.len());
        for event in events {
            frame(event, &mut bytes);
            self.after = event.seq;
        }
        self.limit = self.limit.map(|limit| limit.saturating_sub(events.len()));
        bytes.freeze()
    }
}
