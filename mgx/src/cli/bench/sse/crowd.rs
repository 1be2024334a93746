//! Many readers of one session: those that read, and those that have stopped.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::lag::Lags;
use super::reader::{Address, Reader, Seen, request};

/// How much a stalled reader's own end takes in, in bytes; the kernel doubles it.
const STALLED: u32 = 2048;

/// Readers that read.
#[derive(Debug)]
pub(super) struct Crowd(JoinSet<anyhow::Result<Seen>>);

/// Readers that have asked and never read. Dropping them closes their connections.
#[derive(Debug)]
pub(super) struct Stalled(#[expect(dead_code, reason = "only held open")] Vec<TcpStream>);

impl Crowd {
    /// `count` readers of what comes after number `after`; all of them have been answered.
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

    /// Waits until each has read to the end of the session, with `said` events of its agent among them.
    pub(super) async fn finish(mut self, said: u64) -> anyhow::Result<Lags> {
        let mut lags = Lags::new();
        while let Some(seen) = self.0.join_next().await {
            let seen = seen.context("a reader has panicked")??;
            ensure!(seen.lags.len() as u64 == said, "of {said} events {} came", seen.lags.len());
            seen.lags.into_iter().for_each(|micros| lags.note(micros));
        }
        Ok(lags)
    }
}

impl Stalled {
    /// `count` readers.
    pub(super) async fn open(
        server: SocketAddr,
        token: &str,
        session: &str,
        count: u16,
    ) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for number in 0..u32::from(count) {
            let address = Address { server, of_reader: 10_000 + number };
            let mut socket = address.connect(Some(STALLED)).await?;
            socket.write_all(request(token, session, 0).as_bytes()).await?;
            sockets.push(socket);
        }
        Ok(Self(sockets))
    }
}
