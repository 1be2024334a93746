//! The runner's end of the runner link: dials the platform, for ever, and says everything until it was heard.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use mgx_protocol::JsonFrames;
use mgx_protocol::{Attempt, JobId, Nonce, SlotId};
use mgx_protocol::{
    Claimed, DirectoryId, Exit, FromRunner, Invocation, LINK_DIR, LINK_SOCKET, Ready, ToRunner, VERSION,
    WORKSPACE_DIR,
};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tokio_util::codec::{Encoder, FramedRead};

use crate::spool::Spool;
use crate::supervisor::Stop;

/// The first and the longest pause between two attempts to reach the platform.
const PAUSE: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(500)];

/// How many bytes of events are written at once.
const BATCH: usize = 64 * 1024;

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
    stop: Stop,
    exit: watch::Receiver<Option<Exit>>,
    invocation: Option<oneshot::Sender<Invocation>>,
    invoked: Option<(JobId, Attempt)>,
    /// What we can be claimed with, until we have been.
    nonce: Option<Nonce>,
}

impl Link {
    /// A link that is not connected yet. The first invocation goes to `invocation`; `exit` is said when it is known.
    pub(crate) fn new(
        socket: PathBuf,
        slot: SlotId,
        (spool, stop): (Spool, Stop),
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

    /// Connects again and again. Returns when the platform has heard the exit and dismissed us.
    pub(crate) async fn run(mut self) {
        let [mut pause, longest] = PAUSE;
        loop {
            let mut heard = false;
            // whatever ended the connection, the answer is the next one
            if let Ok(true) = self.connect(&mut heard).await {
                return;
            }
            if heard {
                pause = PAUSE[0];
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// One connection, until it breaks or we are dismissed: then true. `heard` says that the platform spoke.
    async fn connect(&mut self, heard: &mut bool) -> io::Result<bool> {
        let (reader, mut writer) = UnixStream::connect(&self.socket).await?.into_split();
        let ready =
            Ready { version: VERSION, slot: self.slot.clone(), invoked: self.invoked, nonce: self.nonce };
        send(&mut writer, &FromRunner::Ready(ready)).await?;
        let (spool, exit) = (self.spool.clone(), self.exit.clone());
        let (confirm, confirmed) = mpsc::channel(1);
        tokio::select! {
            dismissed = self.listen(reader, confirm, heard) => dismissed,
            error = speak(writer, confirmed, spool, exit) => error.map(|()| false),
        }
    }

    async fn listen(
        &mut self,
        reader: OwnedReadHalf,
        confirm: mpsc::Sender<Claimed>,
        heard: &mut bool,
    ) -> io::Result<bool> {
        let mut frames = FramedRead::new(reader, JsonFrames::<ToRunner, FromRunner>::default());
        while let Some(frame) = frames.next().await {
            let frame = frame?;
            *heard = true;
            match frame {
                ToRunner::Claim { nonce } if self.nonce == Some(nonce) && self.invoked.is_none() => {
                    self.nonce = None;
                    // there was no other claim, so there is room
                    confirm.try_send(Claimed { nonce, workspace: workspace() }).ok();
                }
                // somebody takes us for another one
                ToRunner::Claim { .. } => return Ok(false),
                ToRunner::Invocation(invocation) => {
                    if let Some(first) = self.invocation.take() {
                        self.invoked = Some((invocation.job, invocation.attempt));
                        self.nonce = None;
                        // the receiver waits for nothing else
                        first.send(*invocation).ok();
                    }
                }
                ToRunner::Ack { seq } => self.spool.ack(seq),
                ToRunner::Stop { grace_ms } if self.invoked.is_some() => {
                    self.stop.request(Duration::from_millis(grace_ms));
                }
                ToRunner::Dismiss if self.exit.borrow().is_some() => return Ok(true),
                // before there is anything to stop or an exit to have heard, they mean nothing
                ToRunner::Stop { .. } | ToRunner::Dismiss => {}
            }
        }
        Ok(false)
    }
}

/// The directory that a command will find at the workspace's path.
fn workspace() -> Option<DirectoryId> {
    let found = rustix::fs::stat(WORKSPACE_DIR).ok()?;
    Some(DirectoryId { dev: found.st_dev, ino: found.st_ino })
}

/// Says that we were claimed, if we are, every event that is not acknowledged, those that come, and then the exit.
/// Ends only by an error.
async fn speak(
    mut writer: OwnedWriteHalf,
    mut confirmed: mpsc::Receiver<Claimed>,
    spool: Spool,
    mut exit: watch::Receiver<Option<Exit>>,
) -> io::Result<()> {
    let mut said = 0;
    loop {
        // looked at first: when the exit is known, its last event is in the spool already
        let last_words = exit.borrow_and_update().clone();
        while let Some((last, wire)) = spool.after(said, BATCH) {
            writer.write_all(&wire).await?;
            said = last;
        }
        if let Some(exit) = last_words {
            send(&mut writer, &FromRunner::Exit(exit)).await?;
            return std::future::pending().await;
        }
        tokio::select! {
            Some(claimed) = confirmed.recv() => send(&mut writer, &FromRunner::Claimed(claimed)).await?,
            () = spool.grown() => {}
            // the sender outlives the link
            _ = exit.changed() => {}
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, frame: &FromRunner) -> io::Result<()> {
    let mut wire = BytesMut::new();
    JsonFrames::<ToRunner, FromRunner>::default().encode(frame, &mut wire)?;
    writer.write_all(&wire).await
}
