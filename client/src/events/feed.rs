//! The events of one session as they happen, over as many connections as it takes.

use std::collections::VecDeque;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use mgx_protocol::SessionId;
use mgx_protocol::sse::{Parser, TooLong};
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use crate::client::Client;
use crate::error::Error;
use crate::events::event::Event;

/// A connection that brings nothing for so long is taken for dead: the server pings every 15 seconds.
const SILENCE_TIMEOUT: Duration = Duration::from_mins(1);

/// The pause before the first new connection; each failure doubles it, up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause before a new connection.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long the server may be away before the feed gives up.
const AWAY_MAX: Duration = Duration::from_mins(5);

/// The longest event that is read, in bytes: several times what the server's events can have.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// What a feed yields.
#[derive(Debug)]
pub enum Item {
    /// An event.
    Event(Event),
    /// The connection is lost; the feed connects again.
    Lost,
    /// The feed is connected again.
    Back,
    /// Events are missing because they are no longer kept; the next event is `oldest`.
    Trimmed {
        /// The number of the oldest event that is kept.
        oldest: u64,
    },
    /// Every job of the session has ended, and there is no further event.
    Finished,
}

/// Follows one session: yields every event once and in order, however often the connection breaks.
#[derive(Debug)]
pub struct Feed<'a> {
    client: &'a Client,
    session: SessionId,
    /// The number of the last event that was yielded.
    after: u64,
    stream: Option<(Response, Parser)>,
    ready: VecDeque<Event>,
    /// Since when there is no connection, if one was lost.
    lost: Option<Instant>,
    pauses: ExponentialBackoff,
}

impl<'a> Feed<'a> {
    /// The events of `session` after number `after`; 0: from the oldest that is kept.
    pub fn new(client: &'a Client, session: SessionId, after: u64) -> Self {
        Self { client, session, after, stream: None, ready: VecDeque::new(), lost: None, pauses: pauses() }
    }

    /// The number of the last event that was yielded.
    pub fn position(&self) -> u64 {
        self.after
    }

    /// Waits for the next item. Cancel-safe: no event is lost if the future is dropped.
    ///
    /// # Errors
    /// The server refused the request, has a certificate that is not accepted, or was away for five minutes.
    pub async fn next(&mut self) -> Result<Item, Error> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                if event.seq > self.after {
                    self.after = event.seq;
                    return Ok(Item::Event(event));
                }
            }
            let Some((response, parser)) = &mut self.stream else {
                if let Some(item) = self.connect().await? {
                    return Ok(item);
                }
                continue;
            };
            match timeout(SILENCE_TIMEOUT, response.chunk()).await {
                Ok(Ok(Some(bytes))) => read(parser, &bytes, &mut self.ready),
                Ok(Ok(None) | Err(_)) | Err(_) => self.stream = None,
            }
        }
    }

    /// Opens the stream; `None` if that worked without anything to tell, or has to be tried again.
    async fn connect(&mut self) -> Result<Option<Item>, Error> {
        let after = (self.after > 0).then_some(self.after);
        let answer = match self.client.event_stream(&self.session, after).await {
            Ok(answer) => answer,
            Err(error) => {
                let error = self.client.no_answer(error);
                return if error.is_lasting() { Err(error) } else { self.wait(Some(error)).await };
            }
        };
        let status = answer.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(Some(Item::Finished));
        }
        if status.is_success() {
            self.stream = Some((answer, Parser::new(EVENT_BYTES_MAX)));
            self.pauses = pauses();
            return Ok(self.lost.take().map(|_| Item::Back));
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return self.wait(None).await;
        }
        let refused = self.client.refused(answer).await;
        match refused.problem().and_then(|problem| problem.oldest).filter(|oldest| *oldest > self.after + 1) {
            Some(oldest) => {
                self.after = oldest - 1;
                Ok(Some(Item::Trimmed { oldest }))
            }
            None => Err(refused),
        }
    }

    /// Pauses before the next connection, unless the server has been away for too long.
    async fn wait(&mut self, error: Option<Error>) -> Result<Option<Item>, Error> {
        let first = self.lost.is_none();
        let since = *self.lost.get_or_insert_with(Instant::now);
        if since.elapsed() > AWAY_MAX {
            let gone = || Error::NotReady { base: self.client.base().to_owned() };
            return Err(error.unwrap_or_else(gone));
        }
        sleep(self.pauses.next().unwrap_or(PAUSE_MAX)).await;
        Ok(first.then_some(Item::Lost))
    }
}

/// Appends the events that `bytes` complete to `ready`.
fn read(parser: &mut Parser, mut bytes: &[u8], ready: &mut VecDeque<Event>) {
    loop {
        match parser.next_frame(&mut bytes) {
            Ok(Some(frame)) => ready.extend(Event::parse(frame)),
            Ok(None) => return,
            // the server sends no event of this length, so it is none of the session's
            Err(TooLong { .. }) => {}
        }
    }
}

/// The pauses between connections, without end.
fn pauses() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
    pauses.without_max_times().build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const EVENTS: u64 = 20;

    /// Serves a stream that is cut after some bytes, a few more with each connection, until the client has read it all.
    async fn serve(listener: TcpListener) {
        let mut cut = 0;
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            let mut head = vec![0; 4096];
            let count = socket.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..count]).to_lowercase();
            let after = head.lines().find_map(|line| line.strip_prefix("last-event-id: "));
            let after: u64 = after.map_or(0, |after| after.trim().parse().unwrap());
            let mut answer =
                String::from("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 1000\n");
            if after == EVENTS {
                answer = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
                cut = answer.len();
            }
            for seq in after + 1..=EVENTS {
                let data =
                    serde_json::json!({"seq": seq, "event_type": "message_delta", "data": {"delta": "x"}});
                write!(answer, "id: {seq}\nevent: message_delta\ndata: {data}\n\n").unwrap();
            }
            cut += 37;
            socket.write_all(&answer.as_bytes()[..cut.min(answer.len())]).await.unwrap();
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_never_end() {
        let pauses: Vec<u128> = super::pauses().map(|pause| pause.as_millis()).take(50).collect();
        assert_eq!(pauses[..6], [100, 200, 400, 800, 1600, 2000]);
        assert!(pauses.len() == 50 && pauses[6..].iter().all(|pause| *pause == 2000));
    }

    #[tokio::test]
    async fn a_stream_that_is_cut_anywhere_is_read_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener));
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::new(&url, "token".to_owned().into()).unwrap();
        let mut feed = Feed::new(&client, "demo".parse().unwrap(), 0);
        let mut read = Vec::new();
        loop {
            match tokio::time::timeout(Duration::from_mins(1), feed.next()).await.unwrap().unwrap() {
                Item::Event(event) => read.push(event.seq),
                Item::Lost | Item::Back => {}
                Item::Trimmed { oldest } => panic!("nothing before {oldest} is gone"),
                Item::Finished => break,
            }
        }
        assert_eq!(read, (1..=EVENTS).collect::<Vec<_>>());
        server.abort();
    }
}
