//! A life that an earlier process of the platform began, and how it goes on.

use std::time::Duration;

use mgx_runtimes::{Run, RuntimeError, RuntimeErrorKind};
use serde_json::Map;
use tokio::time::Instant;
use tracing::warn;

use super::{Handed, Lifecycle, Next, Seat};
use crate::core::Backoff;
use crate::job::{Failure, Outcome, State};
use crate::slots::Slot;
use crate::verdict::Verdict;

impl Lifecycle {
    /// Takes up what an earlier process of the platform began to run.
    pub(super) async fn take_up(&mut self, slot: Slot) -> Result<(), Handed> {
        let seat = Seat { slot, claim: self.claim(), since: Instant::now() };
        self.core.live.set_running(self.job.id, Some(self.job.attempt));
        let next = match self.reattach(&seat).await? {
            Ok(run) => {
                let event = self.event("job_reattached", Map::new());
                self.write(None, vec![event]).await?;
                self.follow(seat, run).await?
            }
            Err(error) if error.kind() == RuntimeErrorKind::NotInvoked => {
                drop(seat.slot);
                self.remove_later(seat.claim);
                return self.start_again().await;
            }
            Err(error) => {
                self.leave(seat).await?;
                let outcome = Outcome::Failed(Failure::RuntimeLost);
                self.conclude(Verdict { outcome, exit: None, error: Some(error.to_string()) }).await?
            }
        };
        match next {
            Next::Over => Ok(()),
            Next::Again(pause) => self.go_on(pause).await,
        }
    }

    /// Takes up a run again, waiting for the engine if that is away.
    async fn reattach(&self, seat: &Seat) -> Result<Result<Run, RuntimeError>, Handed> {
        let mut pause = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            match self.core.runtime.reattach(seat.claim.slot()).await {
                Err(error)
                    if matches!(error.kind(), RuntimeErrorKind::Unavailable | RuntimeErrorKind::Deadline) =>
                {
                    warn!(job = %self.job.id, %error, "cannot take up a run, trying again");
                }
                answer => return Ok(answer),
            }
            tokio::select! {
                () = pause.wait() => {}
                () = self.core.shutdown.cancelled() => return Err(Handed),
            }
        }
    }

    /// A start that was never acknowledged: the next attempt, with a container of its own.
    pub(super) async fn start_again(&mut self) -> Result<(), Handed> {
        if matches!(self.job.state, State::Stopping(_)) {
            return self.end(Outcome::Cancelled, None, None).await;
        }
        let claim = self.claim();
        self.remove_later(claim);
        self.requeue("platform_restarted").await?;
        self.go_on(Duration::ZERO).await
    }

    /// Back in line, and from there as if nothing had been.
    async fn go_on(&mut self, pause: Duration) -> Result<(), Handed> {
        let waited = self.wait(pause).await;
        self.live(waited).await
    }
}
