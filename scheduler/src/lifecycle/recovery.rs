//! A life that an earlier process of the platform began, and how it goes on.

use std::time::Duration;

use jiff::SignedDuration;
use mgx_protocol::EventKind;
use mgx_runtimes::{Run, RuntimeError, RuntimeErrorKind};
use serde_json::Map;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::record::Again;
use super::start::PLAN;
use super::{Handed, Lifecycle, Next, Seat};
use crate::core::Backoff;
use crate::handover::Decision;
use crate::job::{Failure, Job, Outcome, State};
use crate::redact::Redactor;
use crate::slots::Slot;
use crate::verdict::Verdict;

/// Two clocks may differ so much and nobody has set one of them.
const SLIGHT: SignedDuration = SignedDuration::from_millis(100);

impl Lifecycle {
    /// Takes up what an earlier process of the platform began to run.
    pub(super) async fn take_up(&mut self, slot: Slot) -> Result<(), Handed> {
        let redactor = self.redactor().await;
        let seat = Seat { slot, claim: self.claim(), since: Instant::now(), redactor };
        self.core.live.set_running(self.job.id, Some(self.job.attempt));
        let moved = self.follow_the_clock().then(|| Job::clone(&self.job));
        let next = match self.reattach(&seat).await? {
            Ok(run) => {
                self.core.desk.tell(Decision::Reattach(self.job.id));
                let event = self.event(EventKind::JobReattached, Map::new());
                self.write(moved, vec![event]).await?;
                self.follow(seat, run).await?
            }
            Err(error) if error.kind() == RuntimeErrorKind::NotInvoked => {
                self.core.desk.tell(Decision::StartAgain(self.job.id));
                // it was written down as a run before it could be one: it costs the job no retry
                self.job.runs = self.job.runs.saturating_sub(1);
                return self.start_again(Some(seat)).await;
            }
            Err(error) => {
                self.core.desk.tell(Decision::Lost(self.job.id));
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

    /// Knows the secrets that its command was given: the same plan has the same ones. Without its session there is none,
    /// and it knows those that the caller has given.
    async fn redactor(&self) -> Redactor {
        let all = &self.core.config.redactor;
        match timeout(PLAN, self.core.blueprint.plan(&self.job)).await {
            Ok(Ok(plan)) => all.with_env(&plan.env),
            Ok(Err(_)) | Err(_) => all.with_env(&self.job.spec.env),
        }
    }

    /// Moves the start and the deadline along if somebody has set the machine's clock since the command began, so
    /// that it may run neither less nor longer than it was given. Whether anybody had.
    fn follow_the_clock(&mut self) -> bool {
        let begun = self.job.started_up.and_then(|uptime| self.core.clock.at(uptime));
        let (Some(begun), Some(noted)) = (begun, self.job.started_at) else { return false };
        let jump = begun.duration_since(noted);
        if jump.abs() < SLIGHT {
            return false;
        }
        warn!(job = %self.job.id, jump_s = jump.as_secs_f64(), "the machine's clock was set while it ran; its deadline moves along");
        self.job.started_at = Some(begun);
        self.job.deadline_at = self.job.deadline_at.and_then(|at| at.checked_add(jump).ok());
        true
    }

    /// Takes up a run again, once the engine has said what is there, and waiting for it if it is away: that a
    /// container is gone counts when it is asked for, not when it merely was not in the list.
    async fn reattach(&self, seat: &Seat) -> Result<Result<Run, RuntimeError>, Handed> {
        let mut pause = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let reattached = async {
            self.core.desk.listed().await;
            loop {
                match self.core.runtime.reattach(seat.claim.slot()).await {
                    Err(error)
                        if matches!(
                            error.kind(),
                            RuntimeErrorKind::Unavailable | RuntimeErrorKind::Deadline
                        ) =>
                    {
                        warn!(job = %self.job.id, %error, "cannot take up a run, trying again");
                        self.core.note(&error);
                    }
                    answer => return answer,
                }
                pause.wait().await;
                self.core.engine.answers().await;
            }
        };
        tokio::select! {
            answer = reattached => Ok(answer),
            () = self.core.shutdown.cancelled() => Err(Handed),
        }
    }

    /// A start that was never acknowledged: the next attempt, with a container of its own. The one that may be there
    /// is cleared away before anybody is given a turn, or now if it has a `seat`.
    pub(super) async fn start_again(&mut self, seat: Option<Seat>) -> Result<(), Handed> {
        if matches!(self.job.state, State::Stopping(_)) {
            if let Some(seat) = seat {
                self.leave(seat).await?;
            }
            return self.end(Outcome::Cancelled, None, None).await;
        }
        // written down first: were the platform to die in between, a container that is gone although the journal says
        // that it runs would have lost a run that never was
        self.requeue(&Again::after("platform_restarted")).await?;
        if let Some(seat) = seat {
            self.leave(seat).await?;
        }
        self.go_on(Duration::ZERO).await
    }

    /// Back in line, and from there as if nothing had been.
    async fn go_on(&mut self, pause: Duration) -> Result<(), Handed> {
        let waited = self.wait(pause).await;
        self.live(waited).await
    }
}
