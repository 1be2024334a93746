//! Many readers of one session: those that read, and those that have stalled.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::reader::{Address, Reader, Received, request};
use crate::shared::statistics::Latencies;

/// The receive buffer of a stalled reader, in bytes; the kernel doubles it.
const STALLED_BUFFER: u32 = 2048;

/// Readers that read.
#[derive(Debug)]
pub(super) struct Readers(JoinSet<anyhow::Result<Received>>);

/// Readers that have sent their request and never read. Dropping them closes their connections.
#[derive(Debug)]
pub(super) struct Stalled(#[expect(dead_code, reason = "only held open")] Vec<TcpStream>);

impl Readers {
    /// Opens `count` streams of the events after sequence number `after`; the server has answered each.
    pub(super) async fn open(
        server: SocketAddr,
        token: &str,
        session: &str,
        after: u64,
        count: u16,
    ) -> anyhow::Result<Self> {
        let mut readers = Vec::new();
        for of_reader in 0..count.into() {
            readers.push(
                Reader::open(Address { server, of_reader }, token, session, after)
                    .await
                    .context("a reader")?,
            );
        }
        let mut tasks = JoinSet::new();
        for reader in readers {
            tasks.spawn(reader.until_finish());
        }
        Ok(Self(tasks))
    }

    /// Waits until each has read to the end, and received `sent` events of the agent.
    pub(super) async fn until_finish(mut self, sent: u64) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new();
        while let Some(received) = self.0.join_next().await {
            let received = received.context("a reader has panicked")??;
            let count = received.latencies_us.len();
            ensure!(count as u64 == sent, "of {sent} events {count} arrived");
            received.latencies_us.into_iter().for_each(|micros| latencies.record_micros(micros.into()));
        }
        Ok(latencies)
    }
}

impl Stalled {
    /// Opens `count` streams.
    pub(super) async fn open(
        server: SocketAddr,
        token: &str,
        session: &str,
        count: u16,
    ) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for number in 0..u32::from(count) {
            let address = Address { server, of_reader: 10_000 + number };
            let mut socket = address.connect(Some(STALLED_BUFFER)).await?;
            socket.write_all(request(token, session, 0).as_bytes()).await?;
            sockets.push(socket);
        }
        Ok(Self(sockets))
    }
}
