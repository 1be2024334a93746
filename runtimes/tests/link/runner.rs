//! A runner that says what it is told to, and nothing else.

use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use mgx_protocol::JsonFrames;
use mgx_protocol::{AgentEvent, EventKind, Exit, ExitCause, FromRunner, Ready, ToRunner, VERSION};
use mgx_protocol::{Attempt, JobId, Nonce, SlotId};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio_util::codec::Framed;

pub(crate) struct Runner {
    frames: Framed<UnixStream, JsonFrames<ToRunner, FromRunner>>,
    slot: Option<SlotId>,
    pub(crate) invoked: Option<(JobId, Attempt)>,
}

impl Runner {
    pub(crate) async fn connect(socket: &Path, slot: &SlotId, invoked: Option<(JobId, Attempt)>) -> Self {
        Self::connect_as(socket, slot, invoked, VERSION).await
    }

    /// A runner that has no invocation, and offers `nonce` for its claim.
    pub(crate) async fn connect_idle(socket: &Path, slot: &SlotId, nonce: Option<Nonce>) -> Self {
        let mut runner = Self::connect_silently(socket).await;
        let ready = Ready { version: VERSION, slot: slot.clone(), invoked: None, nonce };
        runner.sends(FromRunner::Ready(ready)).await;
        Self { slot: Some(slot.clone()), ..runner }
    }

    pub(crate) async fn connect_as(
        socket: &Path,
        slot: &SlotId,
        invoked: Option<(JobId, Attempt)>,
        version: u32,
    ) -> Self {
        let mut runner = Self::connect_silently(socket).await;
        runner.sends(FromRunner::Ready(Ready { version, slot: slot.clone(), invoked, nonce: None })).await;
        Self { slot: Some(slot.clone()), invoked, ..runner }
    }

    /// Connects and sends nothing.
    pub(crate) async fn connect_silently(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).await.unwrap();
        Self { frames: Framed::new(stream, JsonFrames::default()), slot: None, invoked: None }
    }

    /// Disconnects, and connects again with the invocation that it has.
    pub(crate) async fn reconnects(self, socket: &Path) -> Self {
        let Self { frames, slot, invoked } = self;
        drop(frames);
        Self::connect(socket, &slot.unwrap(), invoked).await
    }

    /// Sends a frame. A closed connection is no error here: the test checks what the runner receives next.
    pub(crate) async fn sends(&mut self, frame: FromRunner) {
        self.frames.send(&frame).await.ok();
    }

    pub(crate) async fn sends_bytes(&mut self, bytes: &[u8]) {
        self.frames.get_mut().write_all(bytes).await.ok();
    }

    /// The next frame; `None` if the connection is closed.
    pub(crate) async fn receives(&mut self) -> Option<ToRunner> {
        tokio::time::timeout(Duration::from_secs(10), self.frames.next()).await.unwrap()?.ok()
    }

    pub(crate) async fn receives_invocation(&mut self) -> bool {
        let Some(ToRunner::Invocation(invocation)) = self.receives().await else { return false };
        self.invoked = Some((invocation.job, invocation.attempt));
        true
    }

    pub(crate) fn stream(self) -> UnixStream {
        self.frames.into_inner()
    }
}

pub(crate) fn event(seq: u64) -> FromRunner {
    let data = serde_json::Map::new();
    FromRunner::Event(AgentEvent { seq, at: Timestamp::UNIX_EPOCH, kind: EventKind::Log, agent: None, data })
}

pub(crate) fn exit(last_seq: u64) -> FromRunner {
    FromRunner::Exit(Exit {
        last_seq,
        at: Timestamp::UNIX_EPOCH,
        code: Some(0),
        signal: None,
        oom_kills: 0,
        cause: ExitCause::Ended,
        reported: None,
        error: None,
    })
}
