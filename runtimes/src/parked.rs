//! A container that waits: its runner is connected, holds no job, and can be claimed once.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use mgx_protocol::JsonFrames;
use mgx_protocol::{Claimed, FromRunner, ToRunner};
use mgx_protocol::{Nonce, SlotId};
use rustix::process::Pid;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, oneshot};
use tokio_util::codec::Encoder;
use tracing::debug;

use crate::driver::Control;
use crate::latest::Latest;
use crate::link::read_frame;
use crate::{Runtime, RuntimeError, RuntimeErrorKind};

/// A runtime whose containers can wait, ready and without a job, until somebody wants them.
#[async_trait]
pub trait Parking: Runtime {
    /// Holds the container of `slot`, which was created and not invoked. `left` is rung when it is lost.
    ///
    /// # Errors
    /// `NotFound` if there is none, `NotReady` if its runner is not there or cannot be claimed.
    async fn park(&self, slot: &SlotId, left: Arc<Notify>) -> Result<Parked, RuntimeError>;
}

/// A hold on a container that waits. Without it, the container is as good as lost.
pub struct Parked {
    nonce: Nonce,
    process: Option<Pid>,
    claims: oneshot::Sender<Ask>,
}

/// The container's side of a [`Parked`]: hears of the claim.
#[derive(Debug)]
pub struct Waiting(oneshot::Receiver<Ask>);

type Ask = oneshot::Sender<Claimed>;

impl Parked {
    /// A container that is claimed with `nonce`, and whoever waits there for the claim. `process` is its runner, as
    /// the host sees it.
    pub fn new(nonce: Nonce, process: Option<Pid>) -> (Self, Waiting) {
        let (claims, claim) = oneshot::channel();
        (Self { nonce, process, claims }, Waiting(claim))
    }

    /// What it is claimed with.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Its runner, as the host sees it.
    pub fn process(&self) -> Option<Pid> {
        self.process
    }

    /// Whether its runner has hung up, or spoken out of turn.
    pub fn has_left(&self) -> bool {
        self.claims.is_closed()
    }

    /// Claims it. What the runner answers within `limit`.
    ///
    /// # Errors
    /// `NotReady` if it does not answer, or is another one than was parked.
    pub async fn claim(self, limit: Duration) -> Result<Claimed, RuntimeError> {
        let error = |what: &str| RuntimeError::new(RuntimeErrorKind::NotReady, what);
        let (ask, answer) = oneshot::channel();
        self.claims.send(ask).map_err(|_| error("the runner that waited has hung up"))?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(claimed)) if claimed.nonce == self.nonce => Ok(claimed),
            Ok(Ok(_)) => Err(error("another runner answered than the one that waited")),
            Ok(Err(_)) => Err(error("the runner that waited hung up when it was claimed")),
            Err(_) => Err(error("the runner that waited did not answer its claim in time")),
        }
    }
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked").field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

impl Waiting {
    /// Waits for the claim; `None` if the hold is given up. Whoever made it is told by the given sender.
    pub async fn claimed(&mut self) -> Option<oneshot::Sender<Claimed>> {
        (&mut self.0).await.ok()
    }
}

/// Waits at `control` for the claim, passes it on, and leaves the connection in `controls` for the run that follows.
/// Rings `left` if the runner hangs up or says anything unasked.
pub(crate) async fn attend(
    mut control: Control,
    mut waiting: Waiting,
    controls: Arc<Latest<Control>>,
    left: Arc<Notify>,
) {
    let nonce = control.ready.nonce;
    let ask = tokio::select! {
        ask = waiting.claimed() => ask,
        // it has nothing to say yet: a frame is as wrong as the end
        frame = read_frame(&mut control.stream) => {
            debug!(?frame, "a runner that waited has left");
            drop(waiting);
            return left.notify_one();
        }
    };
    let (Some(ask), Some(nonce)) = (ask, nonce) else { return };
    match confirm(&mut control, nonce).await {
        Ok(claimed) => {
            controls.put_back(control);
            ask.send(claimed).ok();
        }
        Err(error) => debug!(%error, "a runner did not confirm its claim"),
    }
}

async fn confirm(control: &mut Control, nonce: Nonce) -> io::Result<Claimed> {
    let mut wire = BytesMut::new();
    JsonFrames::<FromRunner, ToRunner>::default().encode(&ToRunner::Claim { nonce }, &mut wire)?;
    control.stream.write_all(&wire).await?;
    match read_frame(&mut control.stream).await? {
        FromRunner::Claimed(claimed) => Ok(claimed),
        FromRunner::Ready(_) | FromRunner::Tunnel | FromRunner::Event(_) | FromRunner::Exit(_) => Err(
            io::Error::new(io::ErrorKind::InvalidData, "the runner answered its claim with something else"),
        ),
    }
}
