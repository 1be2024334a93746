//! One reader of an event stream, with little overhead: a thousand of them share the processors with the server.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How many readers share one loopback address: the server limits the connections of each.
const PER_ADDRESS: u32 = 200;

/// The server, and the number of the reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) server: SocketAddr,
    pub(super) of_reader: u32,
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Reader {
    socket: TcpStream,
    after: u64,
    bytes: Vec<u8>,
}

/// What was received of a stream.
#[derive(Debug)]
pub(super) struct Received {
    /// The sequence number of the last event.
    pub(super) last: u64,
    /// Microseconds from the container to here, for each event of the agent.
    pub(super) latencies_us: Vec<u32>,
}

impl Address {
    /// Connects; with a receive buffer of `buffer` bytes, if it is given.
    pub(super) async fn connect(self, buffer: Option<u32>) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let host = 2 + self.of_reader / PER_ADDRESS;
        let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 0)) + host);
        socket.bind((from, 0).into()).with_context(|| format!("cannot use {from}"))?;
        Ok(socket.connect(self.server).await?)
    }
}

/// The request for the events of a session after sequence number `after`, to the end of the session. In HTTP/1.0, so that
/// the body of the answer is not chunked.
pub(super) fn request(token: &str, session: &str, after: u64) -> String {
    format!(
        "GET /api/sessions/{session}/events?after={after}&follow=true HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n"
    )
}

impl Reader {
    /// Opens the stream, and waits until the server has answered.
    pub(super) async fn open(
        address: Address,
        token: &str,
        session: &str,
        after: u64,
    ) -> anyhow::Result<Self> {
        let mut socket = address.connect(None).await?;
        socket.write_all(request(token, session, after).as_bytes()).await?;
        let mut reader = Self { socket, after, bytes: Vec::with_capacity(16 * 1024) };
        loop {
            reader.read_more().await?;
            if let Some(end) = find(&reader.bytes, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&reader.bytes[..end]).into_owned();
                ensure!(head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.0 200"), "{head}");
                reader.bytes.drain(..end + 4);
                return Ok(reader);
            }
        }
    }

    /// Reads to the end of the stream; every sequence number must arrive, once and in order.
    pub(super) async fn until_finish(mut self) -> anyhow::Result<Received> {
        let mut received = Received { last: self.after, latencies_us: Vec::new() };
        loop {
            let now = Timestamp::now();
            let mut done = 0;
            while let Some(end) = find(&self.bytes[done..], b"\n\n") {
                let finished = received.add(&self.bytes[done..done + end], now)?;
                done += end + 2;
                if finished {
                    return Ok(received);
                }
            }
            self.bytes.drain(..done);
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        ensure!(self.socket.read_buf(&mut self.bytes).await? > 0, "the stream ended early");
        Ok(())
    }
}

impl Received {
    /// Adds a frame, and tells whether it is the last.
    fn add(&mut self, frame: &[u8], now: Timestamp) -> anyhow::Result<bool> {
        let Some(frame) = frame.strip_prefix(b"id: ") else { return Ok(false) };
        let line = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let end = line(frame);
        let id: u64 = std::str::from_utf8(&frame[..end])?.parse()?;
        if id != self.last + 1 {
            bail!("event {id} arrived after event {}", self.last);
        }
        self.last = id;
        let rest = &frame[end + 1..];
        if rest.starts_with(b"event: message_delta\n") {
            let begin = find(rest, b"\"ts\":\"").context("an event has no time")? + 6;
            let length = rest[begin..]
                .iter()
                .position(|byte| *byte == b'"')
                .context("the time of an event has no end")?;
            let sent: Timestamp = std::str::from_utf8(&rest[begin..begin + length])?.parse()?;
            let micros = now.duration_since(sent).as_micros();
            self.latencies_us.push(u32::try_from(micros.max(0)).unwrap_or(u32::MAX));
        }
        Ok(rest.starts_with(b"event: finish\n"))
    }
}

/// Where `pattern` begins in `bytes`.
fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = *pattern.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(pattern) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_or_a_repeat_is_an_error() {
        let now: Timestamp = "2026-01-02T03:04:05.5Z".parse().unwrap();
        let mut received = Received { last: 0, latencies_us: Vec::new() };
        let frame = |id: u64, kind: &str| {
            format!("id: {id}\nevent: {kind}\ndata: {{\"v\":1,\"ts\":\"2026-01-02T03:04:05Z\"}}").into_bytes()
        };
        assert!(!received.add(&frame(1, "message_delta"), now).unwrap());
        assert!(!received.add(b"event: ping\ndata: {}", now).unwrap());
        assert!(!received.add(b"retry: 1000", now).unwrap());
        assert!(received.add(&frame(2, "finish"), now).unwrap());
        assert_eq!(received.latencies_us, [500_000]);
        assert!(received.add(&frame(2, "message_delta"), now).is_err());
        assert!(received.add(&frame(4, "message_delta"), now).is_err());
    }
}
