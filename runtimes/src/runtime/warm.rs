//! Warm containers: their runner is connected and has no invocation, and each can be claimed once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mgx_protocol::{Claimed, Nonce, SlotId};
use rustix::process::Pid;
use tokio::sync::{Notify, oneshot};

use super::Runtime;
use super::error::{RuntimeError, RuntimeErrorKind};

/// A runtime whose containers can be kept warm until a job claims one.
#[async_trait]
pub trait PoolableRuntime: Runtime {
    /// Keeps the container of `slot`, which was created and not invoked, until it is claimed. `disconnected` is notified
    /// when its runner disconnects.
    ///
    /// # Errors
    /// `NotFound` if there is none, `NotReady` if its runner is not connected or cannot be claimed.
    async fn keep_warm(
        &self,
        slot: &SlotId,
        disconnected: Arc<Notify>,
    ) -> Result<WarmContainer, RuntimeError>;
}

/// A container that can be claimed. When this is dropped, the container can only be removed.
pub struct WarmContainer {
    nonce: Nonce,
    process: Option<Pid>,
    claims: oneshot::Sender<ClaimReply>,
}

/// The container's side of a [`WarmContainer`]: receives the claim.
#[derive(Debug)]
pub struct ClaimReceiver(oneshot::Receiver<ClaimReply>);

type ClaimReply = oneshot::Sender<Claimed>;

impl WarmContainer {
    /// A container that is claimed with `nonce`, and the receiver of its claim. `process` is its runner, as the host sees
    /// it.
    pub fn new(nonce: Nonce, process: Option<Pid>) -> (Self, ClaimReceiver) {
        let (claims, claim) = oneshot::channel();
        (Self { nonce, process, claims }, ClaimReceiver(claim))
    }

    /// The nonce that its runner confirms a claim with.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The process of its runner, as the host sees it.
    pub fn process(&self) -> Option<Pid> {
        self.process
    }

    /// Whether its runner has disconnected, or sent a frame although nothing was asked.
    pub fn is_disconnected(&self) -> bool {
        self.claims.is_closed()
    }

    /// Claims the container; what its runner answers within `limit`.
    ///
    /// # Errors
    /// `NotReady` if the runner does not answer, or another one answers.
    pub async fn claim(self, limit: Duration) -> Result<Claimed, RuntimeError> {
        let error = |what: &str| RuntimeError::new(RuntimeErrorKind::NotReady, what);
        let (reply, answer) = oneshot::channel();
        self.claims.send(reply).map_err(|_| error("the warm runner has disconnected"))?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(claimed)) if claimed.nonce == self.nonce => Ok(claimed),
            Ok(Ok(_)) => Err(error("another runner answered than the warm one")),
            Ok(Err(_)) => Err(error("the warm runner disconnected when it was claimed")),
            Err(_) => Err(error("the warm runner did not answer its claim in time")),
        }
    }
}

impl fmt::Debug for WarmContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmContainer").field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

impl ClaimReceiver {
    /// Waits for the claim, and returns the sender for its confirmation; `None` if the [`WarmContainer`] was dropped.
    pub async fn claim(&mut self) -> Option<oneshot::Sender<Claimed>> {
        (&mut self.0).await.ok()
    }
}
