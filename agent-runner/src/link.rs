//! The runner's end of the control connection: dials the platform again and again, and repeats what is not acknowledged.

pub(crate) mod spool;
pub(crate) mod tunnel;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::BytesMut;
use futures_util::StreamExt;
use mgx_protocol::{
    Attempt, Claimed, DirectoryId, Exit, FromRunner, Invocation, JobId, JsonFrames, LINK_DIR, LINK_SOCKET,
    Nonce, Ready, SlotId, ToRunner, VERSION, WORKSPACE_DIR,
};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tokio_util::codec::{Encoder, FramedRead};

use crate::command::supervisor::StopRequest;
use spool::Spool;

/// The pauses between attempts to reach the platform.
const RECONNECT: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(10))
    .with_max_delay(Duration::from_millis(500))
    .without_max_times();

/// How many bytes of events are written at once.
const BATCH_BYTES: usize = 64 * 1024;

/// Where the platform listens: in the link directory, unless `MGX_LINK` names another socket.
pub(crate) fn socket() -> PathBuf {
    std::env::var_os("MGX_LINK").map_or_else(|| Path::new(LINK_DIR).join(LINK_SOCKET), PathBuf::from)
}

/// The control connection of one container.
#[derive(Debug)]
pub(crate) struct Link {
    socket: PathBuf,
    slot: SlotId,
    spool: Spool,
    stop: StopRequest,
    exit: watch::Receiver<Option<Exit>>,
    invocation: Option<oneshot::Sender<Invocation>>,
    invoked: Option<(JobId, Attempt)>,
    /// What the platform claims this runner with, until it has done so.
    nonce: Option<Nonce>,
}

impl Link {
    /// A link that is not connected yet. The first invocation is sent to `invocation`; `exit` is sent to the platform
    /// when it is known.
    pub(crate) fn new(
        socket: PathBuf,
        slot: SlotId,
        (spool, stop): (Spool, StopRequest),
        invocation: oneshot::Sender<Invocation>,
        exit: watch::Receiver<Option<Exit>>,
    ) -> Self {
        Self {
            socket,
            slot,
            spool,
            stop,
            exit,
            invocation: Some(invocation),
            invoked: None,
            nonce: Some(Nonce::new()),
        }
    }

    /// Connects again and again. Returns when the platform has stored the exit and dismissed the runner.
    pub(crate) async fn run(mut self) {
        let mut pauses = RECONNECT.build();
        loop {
            let mut has_received = false;
            // every error is met with another connection
            if let Ok(true) = self.connect(&mut has_received).await {
                return;
            }
            if has_received {
                pauses = RECONNECT.build();
            }
            sleep(pauses.next().unwrap_or_default()).await;
        }
    }

    /// Keeps one connection until it breaks, or until the runner is dismissed: then true. `has_received` becomes true
    /// with the first frame from the platform.
    async fn connect(&mut self, has_received: &mut bool) -> io::Result<bool> {
        let (reader, mut writer) = UnixStream::connect(&self.socket).await?.into_split();
        let ready =
            Ready { version: VERSION, slot: self.slot.clone(), invoked: self.invoked, nonce: self.nonce };
        send(&mut writer, &FromRunner::Ready(ready)).await?;
        let (spool, exit) = (self.spool.clone(), self.exit.clone());
        let (confirm, confirmed) = mpsc::channel(1);
        tokio::select! {
            dismissed = self.receive(reader, confirm, has_received) => dismissed,
            error = send_all(writer, confirmed, spool, exit) => error.map(|()| false),
        }
    }

    async fn receive(
        &mut self,
        reader: OwnedReadHalf,
        confirm: mpsc::Sender<Claimed>,
        has_received: &mut bool,
    ) -> io::Result<bool> {
        let mut frames = FramedRead::new(reader, JsonFrames::<ToRunner, FromRunner>::default());
        while let Some(frame) = frames.next().await {
            let frame = frame?;
            *has_received = true;
            match frame {
                ToRunner::Claim { nonce } if self.nonce == Some(nonce) && self.invoked.is_none() => {
                    self.nonce = None;
                    // there is no earlier claim, so the channel has room
                    confirm.try_send(Claimed { nonce, workspace: workspace() }).ok();
                }
                // the claim is meant for another runner, or is a second one
                ToRunner::Claim { .. } => return Ok(false),
                ToRunner::Invocation(invocation) => {
                    if let Some(first) = self.invocation.take() {
                        self.invoked = Some((invocation.job, invocation.attempt));
                        self.nonce = None;
                        // the receiver is gone only while the runner exits
                        first.send(*invocation).ok();
                    }
                }
                ToRunner::Ack { seq } => self.spool.ack(seq),
                ToRunner::Stop { grace_ms } if self.invoked.is_some() => {
                    self.stop.request(Duration::from_millis(grace_ms));
                }
                ToRunner::Dismiss if self.exit.borrow().is_some() => return Ok(true),
                // there is nothing to stop, or no exit that could have been stored
                ToRunner::Stop { .. } | ToRunner::Dismiss => {}
            }
        }
        Ok(false)
    }
}

/// The directory that is mounted at the workspace's path.
fn workspace() -> Option<DirectoryId> {
    let found = rustix::fs::stat(WORKSPACE_DIR).ok()?;
    Some(DirectoryId { dev: found.st_dev, ino: found.st_ino })
}

/// Sends the confirmation of a claim, every event that is not acknowledged, those that come, and then the exit.
/// Returns only errors.
async fn send_all(
    mut writer: OwnedWriteHalf,
    mut confirmed: mpsc::Receiver<Claimed>,
    spool: Spool,
    mut exit: watch::Receiver<Option<Exit>>,
) -> io::Result<()> {
    let mut sent = 0;
    loop {
        // read first: when the exit is known, all events before it are in the spool
        let ended = exit.borrow_and_update().clone();
        while let Some((last, wire)) = spool.after(sent, BATCH_BYTES) {
            writer.write_all(&wire).await?;
            sent = last;
        }
        if let Some(exit) = ended {
            send(&mut writer, &FromRunner::Exit(exit)).await?;
            return std::future::pending().await;
        }
        tokio::select! {
            Some(claimed) = confirmed.recv() => send(&mut writer, &FromRunner::Claimed(claimed)).await?,
            () = spool.grown() => {}
            // the sender lives as long as the process
            _ = exit.changed() => {}
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, frame: &FromRunner) -> io::Result<()> {
    let mut wire = BytesMut::new();
    JsonFrames::<ToRunner, FromRunner>::default().encode(frame, &mut wire)?;
    writer.write_all(&wire).await
}
