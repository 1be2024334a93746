//! One reader of an event stream, as cheap as can be: a thousand of them must not be what is measured.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How many readers share one address of this machine: the server lets in only so many of one.
const PER_ADDRESS: u32 = 200;

/// Which server, and which reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) server: SocketAddr,
    pub(super) of_reader: u32,
}

/// A stream that is open.
#[derive(Debug)]
pub(super) struct Reader {
    socket: TcpStream,
    after: u64,
    bytes: Vec<u8>,
}

/// What was seen of a whole stream.
#[derive(Debug)]
pub(super) struct Seen {
    /// The number of the last event.
    pub(super) last: u64,
    /// Microseconds from the container to here, of each event that an agent said.
    pub(super) lags: Vec<u32>,
}

impl Address {
    /// Connects; with a small buffer for what comes in, if `buffer` says so.
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

/// The request for a session's events after number `after`, even if it has finished. HTTP/1.0: the answer is the events and nothing else.
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
            reader.more().await?;
            if let Some(end) = find(&reader.bytes, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&reader.bytes[..end]).into_owned();
                ensure!(head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.0 200"), "{head}");
                reader.bytes.drain(..end + 4);
                return Ok(reader);
            }
        }
    }

    /// Reads to the end of the stream; every number must come, once and in order.
    pub(super) async fn until_finish(mut self) -> anyhow::Result<Seen> {
        let mut seen = Seen { last: self.after, lags: Vec::new() };
        loop {
            let now = Timestamp::now();
            let mut done = 0;
            while let Some(end) = find(&self.bytes[done..], b"\n\n") {
                let finished = seen.take(&self.bytes[done..done + end], now)?;
                done += end + 2;
                if finished {
                    return Ok(seen);
                }
            }
            self.bytes.drain(..done);
            self.more().await?;
        }
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        ensure!(self.socket.read_buf(&mut self.bytes).await? > 0, "the stream ended early");
        Ok(())
    }
}

impl Seen {
    /// One frame. Whether it is the last.
    fn take(&mut self, frame: &[u8], now: Timestamp) -> anyhow::Result<bool> {
        let Some(frame) = frame.strip_prefix(b"id: ") else { return Ok(false) };
        let line = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let end = line(frame);
        let id: u64 = std::str::from_utf8(&frame[..end])?.parse()?;
        if id != self.last + 1 {
            bail!("event {id} came after event {}", self.last);
        }
        self.last = id;
        let rest = &frame[end + 1..];
        if rest.starts_with(b"event: message_delta\n") {
            let begin = find(rest, b"\"ts\":\"").context("an event without its time")? + 6;
            let length = rest[begin..].iter().position(|byte| *byte == b'"').context("a time without end")?;
            let said: Timestamp = std::str::from_utf8(&rest[begin..begin + length])?.parse()?;
            let micros = now.duration_since(said).as_micros();
            self.lags.push(u32::try_from(micros.max(0)).unwrap_or(u32::MAX));
        }
        Ok(rest.starts_with(b"event: finish\n"))
    }
}

/// Where `what` begins.
fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(what) {
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
    fn a_gap_or_a_repeat_is_seen() {
        let now: Timestamp = "2026-01-02T03:04:05.5Z".parse().unwrap();
        let mut seen = Seen { last: 0, lags: Vec::new() };
        let frame = |id: u64, kind: &str| {
            format!("id: {id}\nevent: {kind}\ndata: {{\"v\":1,\"ts\":\"2026-01-02T03:04:05Z\"}}").into_bytes()
        };
        assert!(!seen.take(&frame(1, "message_delta"), now).unwrap());
        assert!(!seen.take(b"event: ping\ndata: {}", now).unwrap());
        assert!(!seen.take(b"retry: 1000", now).unwrap());
        assert!(seen.take(&frame(2, "finish"), now).unwrap());
        assert_eq!(seen.lags, [500_000]);
        assert!(seen.take(&frame(2, "message_delta"), now).is_err());
        assert!(seen.take(&frame(4, "message_delta"), now).is_err());
    }
}
