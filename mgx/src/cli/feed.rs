//! The events of a session as they happen: read, resumed and read again until the session has finished.

use std::time::Duration;

use jiff::Timestamp;
use mgx_agent_runner::SessionId;
use reqwest::{Response, StatusCode};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, timeout};

use super::client::{Client, refusal};
use super::out::Failure;
use super::sse::{Frame, Parser};

/// The server pings more often than this; a longer silence is a dead connection.
const SILENCE: Duration = Duration::from_mins(1);

/// How long a server that is gone may be gone.
const GIVE_UP: Duration = Duration::from_mins(5);

/// One event, as the server sends it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// Its number in the session.
    pub(crate) seq: u64,
    /// When it happened.
    pub(crate) at: Option<Timestamp>,
    /// What happened.
    pub(crate) kind: String,
    /// Which agent did it.
    pub(crate) agent: Option<String>,
    /// The job.
    pub(crate) job: Option<String>,
    /// The rest.
    pub(crate) data: Map<String, Value>,
}

/// What comes out of a feed.
#[derive(Debug)]
pub(crate) enum Item {
    /// Something happened.
    Event(Event),
    /// The connection is lost, and is being made again.
    Lost,
    /// The connection is there again.
    Back,
    /// Nothing more will happen until somebody submits a job.
    Finished,
}

/// Follows one session.
#[derive(Debug)]
pub(crate) struct Feed<'a> {
    client: &'a Client,
    session: SessionId,
    after: u64,
    stream: Option<(Response, Parser)>,
    ready: std::collections::VecDeque<Frame>,
    lost: Option<Instant>,
    pause: Duration,
}

impl<'a> Feed<'a> {
    /// The events of `session` after number `after`.
    pub(crate) fn new(client: &'a Client, session: SessionId, after: u64) -> Self {
        let pause = Duration::from_millis(100);
        Self {
            client,
            session,
            after,
            stream: None,
            ready: std::collections::VecDeque::new(),
            lost: None,
            pause,
        }
    }

    /// The number of the last event that was read.
    pub(crate) fn position(&self) -> u64 {
        self.after
    }

    /// Waits for the next item. Cancel-safe: nothing is taken from the stream without being given out.
    ///
    /// # Errors
    /// The server refuses, or has been gone for too long.
    pub(crate) async fn next(&mut self) -> Result<Item, Failure> {
        loop {
            while let Some(frame) = self.ready.pop_front() {
                if let Some(event) = Event::parse(&frame)
                    && event.seq > self.after
                {
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
            match timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.ready.extend(parser.feed(&bytes)),
                Ok(Ok(None) | Err(_)) | Err(_) => self.stream = None,
            }
        }
    }

    /// Opens the stream; `None`: it is open, or has to be tried again.
    async fn connect(&mut self) -> Result<Option<Item>, Failure> {
        match self.client.events(&self.session, self.after).await {
            Ok(answer) if answer.status() == StatusCode::NO_CONTENT => Ok(Some(Item::Finished)),
            Ok(answer) if answer.status().is_success() => {
                self.stream = Some((answer, Parser::default()));
                self.pause = Duration::from_millis(100);
                Ok(self.lost.take().map(|_| Item::Back))
            }
            Ok(answer)
                if answer.status().is_client_error() && answer.status() != StatusCode::TOO_MANY_REQUESTS =>
            {
                let status = answer.status();
                let body = answer.json().await.unwrap_or(Value::Null);
                Err(refusal(status, &body))
            }
            Ok(_) => self.wait(None).await,
            Err(error) => self.wait(Some(&error)).await,
        }
    }

    async fn wait(&mut self, error: Option<&reqwest::Error>) -> Result<Option<Item>, Failure> {
        let first = self.lost.is_none();
        let since = *self.lost.get_or_insert_with(Instant::now);
        if since.elapsed() > GIVE_UP {
            let gone = || Failure::new(format!("{} is not ready; look at its log", self.client.base()));
            return Err(error.map_or_else(gone, |error| self.client.unreachable(error)));
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_secs(2));
        Ok(first.then_some(Item::Lost))
    }
}

impl Event {
    /// The event in a frame; `None` for a ping and for what is no event of ours.
    pub(crate) fn parse(frame: &Frame) -> Option<Self> {
        let id: u64 = frame.id.as_deref()?.parse().ok()?;
        Self::of(serde_json::from_str(&frame.data).ok()?).filter(|event| event.seq == id)
    }

    /// The event that the server wrote as `json`.
    pub(crate) fn of(json: Value) -> Option<Self> {
        let Value::Object(mut json) = json else { return None };
        let text = |key: &str| json.get(key)?.as_str().map(str::to_owned);
        let (kind, agent, job) = (text("event_type")?, text("agent_name"), text("job_id"));
        let at = text("ts").and_then(|at| at.parse().ok());
        let seq = json.get("seq")?.as_u64()?;
        let Some(Value::Object(data)) = json.remove("data") else { return None };
        Some(Self { seq, at, kind, agent, job, data })
    }

    /// The event as one JSON object.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::json!({
            "seq": self.seq, "ts": self.at, "event_type": self.kind, "agent_name": self.agent,
            "job_id": self.job, "data": self.data,
        })
    }

    /// A text of its data, or an empty one.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.data.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const EVENTS: u64 = 20;

    /// A server that cuts its stream after so many bytes, each time a few more, until all has been read.
    async fn serve(listener: TcpListener) {
        let mut cut = 0;
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            let mut head = vec![0; 4096];
            let count = socket.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..count]).to_lowercase();
            let after =
                head.lines().find_map(|line| line.strip_prefix("last-event-id: ")).unwrap().trim().to_owned();
            let after: u64 = after.parse().unwrap();
            let mut answer =
                String::from("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 1000\n\n");
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

    #[tokio::test]
    async fn a_stream_that_is_cut_anywhere_is_read_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener));
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::of(url, "token".to_owned().into()).unwrap();
        let mut feed = Feed::new(&client, "demo".parse().unwrap(), 0);
        let mut read = Vec::new();
        loop {
            match tokio::time::timeout(Duration::from_mins(1), feed.next()).await.unwrap().unwrap() {
                Item::Event(event) => read.push(event.seq),
                Item::Lost | Item::Back => {}
                Item::Finished => break,
            }
        }
        assert_eq!(read, (1..=EVENTS).collect::<Vec<_>>());
        server.abort();
    }
}
