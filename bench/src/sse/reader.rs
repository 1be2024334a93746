//! One reader of an event stream, with little overhead: a thousand of them share the processors with the server.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use mgx_protocol::sse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How many readers share one loopback address: the server limits the connections of each.
const PER_ADDRESS: u32 = 200;

/// The longest event of a stream, in bytes.
const MAX_EVENT_BYTES: usize = 1 << 20;

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
            if let Some(end) = reader.bytes.windows(4).position(|window| window == b"\r\n\r\n") {
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
        let mut events = sse::Parser::new(MAX_EVENT_BYTES);
        while !received.add(&mut events, &self.bytes, Timestamp::now())? {
            self.bytes.clear();
            self.read_more().await?;
        }
        Ok(received)
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        ensure!(self.socket.read_buf(&mut self.bytes).await? > 0, "the stream ended early");
        Ok(())
    }
}

impl Received {
    /// Adds the events in `bytes`, which arrived `now`, and returns whether one of them is the last of the stream.
    fn add(&mut self, events: &mut sse::Parser, mut bytes: &[u8], now: Timestamp) -> anyhow::Result<bool> {
        while let Some(event) = events.next_frame(&mut bytes)? {
            let Some(id) = event.id else { continue };
            let id: u64 = id.parse()?;
            if id != self.last + 1 {
                bail!("event {id} arrived after event {}", self.last);
            }
            self.last = id;
            match event.event {
                "message_delta" => {
                    let (_, rest) = event.data.split_once("\"ts\":\"").context("an event has no time")?;
                    let (sent, _) = rest.split_once('"').context("the time of an event has no end")?;
                    let micros = now.duration_since(sent.parse()?).as_micros();
                    self.latencies_us.push(u32::try_from(micros.max(0)).unwrap_or(u32::MAX));
                }
                "finish" => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_or_a_repeat_is_an_error() {
        let now: Timestamp = "2026-01-02T03:04:05.5Z".parse().unwrap();
        let mut received = Received { last: 0, latencies_us: Vec::new() };
        let mut events = sse::Parser::new(MAX_EVENT_BYTES);
        let frame = |id: u64, kind: &str| {
            format!("id: {id}\nevent: {kind}\ndata: {{\"v\":1,\"ts\":\"2026-01-02T03:04:05Z\"}}\n\n")
                .into_bytes()
        };
        assert!(!received.add(&mut events, &frame(1, "message_delta"), now).unwrap());
        assert!(!received.add(&mut events, b"event: ping\ndata: {}\n\n", now).unwrap());
        assert!(!received.add(&mut events, b"retry: 1000\n\n", now).unwrap());
        assert!(received.add(&mut events, &frame(2, "finish"), now).unwrap());
        assert_eq!(received.latencies_us, [500_000]);
        assert!(received.add(&mut events, &frame(2, "message_delta"), now).is_err());
        assert!(received.add(&mut events, &frame(4, "message_delta"), now).is_err());
    }
}
