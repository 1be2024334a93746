//! The socket on which any process of the container reports what it does: one JSON object on each line.
//!
//! ```text
//! {"type":"message_delta","agent":"engineer","data":{"delta":"Hello"}}
//! {"type":"finish","data":{"status":"success"}}
//! ```
//!
//! A `finish` becomes no event: it is the result that the agent reports of its own work, and the last one counts. Any
//! other line is dropped, and a `log` event says why. The processes that write here are untrusted.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mgx_protocol::{EventKind, MAX_EVENT_BYTES, ReportedResult};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::drain::until_quiet;
use super::lines::Lines;
use super::log::log;
use crate::link::spool::Spool;

/// The environment variable that names the socket.
pub(crate) const PATH_VARIABLE: &str = "MGX_EVENTS";

/// How many connections are read at once, at most and at least; further ones wait.
const MAX_CONNECTIONS: usize = 64;
const MIN_CONNECTIONS: usize = 4;

/// So much memory of the container allows one connection, in bytes: each may hold a line in memory.
const MEMORY_PER_CONNECTION: u64 = 4 * 1024 * 1024;

/// The longest line, in bytes: the largest data of an event, and what stands around it.
const MAX_LINE_BYTES: usize = MAX_EVENT_BYTES + 256;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The socket, listening.
#[derive(Debug)]
pub(crate) struct EventSocket {
    path: PathBuf,
    listener: UnixListener,
    connections: usize,
    sink: EventSink,
    ended: CancellationToken,
}

/// Where the lines go.
#[derive(Clone, Debug)]
struct EventSink {
    spool: Spool,
    reported: Arc<Mutex<Option<ReportedResult>>>,
    /// Held while a line is read as JSON and waits for room: its values take more memory than its bytes.
    line: Arc<tokio::sync::Mutex<()>>,
}

/// One line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "type")]
    kind: EventKind,
    agent: Option<String>,
    #[serde(default)]
    data: Map<String, Value>,
}

impl EventSocket {
    /// Opens the socket in `directory`, in a container with `memory_bytes` of memory (0: unknown). Its readers stop when the command has `ended` and every line has been read.
    pub(crate) fn open(
        directory: &Path,
        spool: Spool,
        ended: CancellationToken,
        memory_bytes: u64,
    ) -> io::Result<Self> {
        let path = directory.join(format!("mgx-events-{}.sock", std::process::id()));
        // a socket of this name is of a process that had the same PID before
        std::fs::remove_file(&path).ok();
        let listener = UnixListener::bind(&path)?;
        let connections = match memory_bytes {
            0 => MAX_CONNECTIONS,
            _ => usize::try_from(memory_bytes / MEMORY_PER_CONNECTION)
                .unwrap_or(MAX_CONNECTIONS)
                .clamp(MIN_CONNECTIONS, MAX_CONNECTIONS),
        };
        let sink = EventSink { spool, reported: Arc::default(), line: Arc::default() };
        Ok(Self { path, listener, connections, sink, ended })
    }

    /// The socket's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads lines until the command has ended and all that it wrote has been read; the result that was reported, if any.
    pub(crate) async fn collect(self) -> Option<ReportedResult> {
        let permits = Arc::new(Semaphore::new(self.connections));
        let mut readers = JoinSet::new();
        loop {
            let accepted = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, connection) = tokio::select! {
                biased;
                accepted = accepted => accepted,
                Some(_) = readers.join_next() => continue,
                () = self.ended.cancelled() => break,
            };
            match connection {
                Ok((stream, _)) => {
                    let (sink, ended) = (self.sink.clone(), self.ended.clone());
                    readers.spawn(async move {
                        sink.read(stream, &ended).await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
        while readers.join_next().await.is_some() {}
        // processes that wrote and exited before their connection was accepted
        if let Ok(listener) = self.listener.into_std() {
            self.sink.read_rest(&listener, &self.ended).await;
        }
        std::fs::remove_file(&self.path).ok();
        self.sink.reported.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl EventSink {
    async fn read_rest(&self, listener: &StdListener, ended: &CancellationToken) {
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = UnixStream::from_std(stream)
            {
                self.read(stream, ended).await;
            }
        }
    }

    async fn read(&self, stream: UnixStream, ended: &CancellationToken) {
        let mut lines = Lines::new(stream, MAX_LINE_BYTES);
        let mut too_long = false;
        while let Some(Ok(Some(piece))) = until_quiet(ended, lines.next()).await {
            let whole = piece.last && !too_long;
            let first = !too_long;
            too_long = !piece.last;
            if whole {
                self.on_line(&piece.bytes).await;
            } else if first {
                self.drop_event(&format!("it is longer than {MAX_LINE_BYTES} bytes")).await;
            }
        }
    }

    async fn on_line(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let _one_at_a_time = self.line.lock().await;
        match parse(bytes) {
            Ok(Line { kind, agent, data }) if kind != EventKind::Finish => {
                self.spool.push(kind, agent.as_deref(), data).await;
            }
            Ok(Line { data, .. }) => match reported(&data) {
                Ok(reported) => {
                    *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = Some(reported);
                }
                Err(why) => self.drop_event(why).await,
            },
            Err(why) => self.drop_event(&why).await,
        }
    }

    async fn drop_event(&self, why: &str) {
        log(&self.spool, "runner", &format!("an event was dropped: {why}")).await;
    }
}

fn parse(bytes: &[u8]) -> Result<Line, String> {
    let line: Line = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !line.kind.is_well_formed() {
        return Err("its type is not 1 to 40 of a-z 0-9 _".into());
    }
    if line.agent.as_ref().is_some_and(|agent| !(1..=64).contains(&agent.len())) {
        return Err("its agent is not 1 to 64 bytes long".into());
    }
    let size = serde_json::to_vec(&line.data).map_or(usize::MAX, |data| data.len());
    if size > MAX_EVENT_BYTES {
        return Err(format!("its data has {size} bytes, more than {MAX_EVENT_BYTES}"));
    }
    Ok(line)
}

fn reported(data: &Map<String, Value>) -> Result<ReportedResult, &'static str> {
    let success = match data.get("status").and_then(Value::as_str) {
        Some("success") => true,
        Some("error") => false,
        _ => return Err("the status of a finish is success or error"),
    };
    Ok(ReportedResult {
        success,
        error: data.get("error").and_then(Value::as_str).map(Into::into),
        resume_after_s: data
            .get("resume_after_s")
            .and_then(Value::as_u64)
            .map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    use bytes::BytesMut;
    use mgx_protocol::{AgentEvent, FromRunner, JsonFrames, ToRunner};
    use tokio_util::codec::Decoder;

    /// The events and the result that come of `lines`, written before the socket is read.
    async fn collected(lines: &[u8]) -> (String, Option<ReportedResult>) {
        let directory = tempfile::tempdir().unwrap();
        let (spool, ended) = (Spool::new(), CancellationToken::new());
        let events = EventSocket::open(directory.path(), spool.clone(), ended.clone(), 0).unwrap();
        let mut process = std::os::unix::net::UnixStream::connect(events.path()).unwrap();
        let lines = lines.to_vec();
        let writer = std::thread::spawn(move || process.write_all(&lines).unwrap());
        ended.cancel();
        let reported = events.collect().await;
        writer.join().unwrap();
        let mut wire = BytesMut::from(&spool.after(0, usize::MAX).unwrap().1[..]);
        let mut codec = JsonFrames::<FromRunner, ToRunner>::default();
        let frames = std::iter::from_fn(|| codec.decode(&mut wire).unwrap());
        let line = |frame| match frame {
            FromRunner::Event(AgentEvent { seq, kind, agent, data, .. }) => {
                format!("{seq} {} {kind}: {}", agent.as_deref().unwrap_or("-"), Value::from(data))
            }
            other => panic!("{other:?}"),
        };
        (frames.map(line).collect::<Vec<_>>().join("\n"), reported)
    }

    #[tokio::test]
    async fn lines_become_events_and_a_finish_becomes_the_reported_result() {
        let (events, reported) = collected(
            b"{\"type\":\"message_delta\",\"agent\":\"engineer\",\"data\":{\"delta\":\"Hi\"}}\n\n\
              {\"type\":\"finish\",\"data\":{\"status\":\"success\"}}\n\
              {\"type\":\"note\"}\n\
              {\"type\":\"finish\",\"data\":{\"status\":\"error\",\"error\":\"no model\"}}",
        )
        .await;
        insta::assert_snapshot!(events);
        assert_eq!(
            reported,
            Some(ReportedResult { success: false, error: Some("no model".into()), resume_after_s: None })
        );
    }

    #[tokio::test]
    async fn a_bad_line_is_dropped_and_the_log_says_why() {
        let long =
            format!("{{\"type\":\"note\",\"data\":{{\"text\":\"{}\"}}}}\n", "x".repeat(3 * MAX_LINE_BYTES));
        let wide =
            format!("{{\"type\":\"note\",\"data\":{{\"text\":\"{}\"}}}}\n", "x".repeat(MAX_EVENT_BYTES));
        let lines = [
            "nonsense\n",
            "{\"type\":\"Message\"}\n",
            "{\"type\":\"\"}\n",
            "{\"type\":\"note\",\"data\":[]}\n",
            "{\"type\":\"note\",\"extra\":1}\n",
            "{\"type\":\"note\",\"agent\":\"\"}\n",
            &long,
            &wide,
            "{\"type\":\"finish\",\"data\":{\"status\":\"great\"}}\n",
            "\u{fffd}\0\n",
            "{\"type\":\"good\"}\n",
        ];
        let (events, reported) = collected(lines.concat().as_bytes()).await;
        insta::assert_snapshot!(events);
        assert_eq!(reported, None);
    }
}
