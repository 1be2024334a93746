//! A job whose command an earlier process of the platform has begun to run, and how it goes on.

use std::time::Duration;

use jiff::SignedDuration;
use mgx_protocol::EventKind;
use mgx_runtimes::{Run, RuntimeError, RuntimeErrorKind};
use serde_json::Map;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::exit_outcome::ExitOutcome;
use super::record::RetryPlan;
use super::start::PLAN_TIMEOUT;
use super::{AfterAttempt, Allocation, Lifecycle};
use crate::core::OwnershipLost;
use crate::events::redact::Redactor;
use crate::job::Job;
use crate::job::state::{Failure, Outcome, State};
use crate::queue::slots::Slot;
use crate::recovery::progress::{RecoveryProgress, Resumed};
use crate::time::backoff::Backoff;

/// A difference of two clocks that is not taken for a change of the machine's clock.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_millis(100);

impl Lifecycle {
    /// Reattaches to the run and follows it; or retries or ends the job if the run is lost.
    pub(super) async fn resume_run(
        &mut self,
        slot: Slot,
        progress: &RecoveryProgress,
    ) -> Result<(), OwnershipLost> {
        let redactor = self.redactor().await;
        let allocation =
            Allocation { slot, container: self.mark_container(), since: Instant::now(), redactor };
        self.core.live.set_running(self.job.id, Some(self.job.attempt));
        let moved = self.follow_clock_change().then(|| Job::clone(&self.job));
        self.deadline = self.job.deadline_at.map_or_else(Instant::now, |at| self.core.clock.instant(at));
        let after = match self.reattach(&allocation, progress).await? {
            Ok(run) => {
                progress.report(Resumed::Reattached(self.job.id));
                let event = self.event(EventKind::JobReattached, Map::new());
                self.write(moved, vec![event]).await?;
                self.follow(allocation, run).await?
            }
            Err(error) if error.kind() == RuntimeErrorKind::NotInvoked => {
                progress.report(Resumed::StartedOver);
                // the journal counts the run, but its command never began: it does not count as a try
                self.job.runs = self.job.runs.saturating_sub(1);
                return self.start_over(Some(allocation)).await;
            }
            Err(error) => {
                progress.report(Resumed::Lost);
                self.release(allocation).await?;
                let outcome = Outcome::Failed(Failure::RuntimeLost);
                self.retry_or_end(ExitOutcome {
                    outcome,
                    exit: None,
                    error: Some(error.to_string()),
                    resume_after: None,
                })
                .await?
            }
        };
        match after {
            AfterAttempt::Ended => Ok(()),
            AfterAttempt::Retry(pause) => self.wait_and_drive(pause).await,
        }
    }

    /// A redactor that knows the secrets in the environment of the command: the same plan has the same ones. If the job
    /// cannot be planned any more, it knows those that the user gave.
    async fn redactor(&self) -> Redactor {
        let all = &self.core.config.redactor;
        match timeout(PLAN_TIMEOUT, self.core.blueprint.plan(&self.job)).await {
            Ok(Ok(plan)) => all.with_env(&plan.env),
            Ok(Err(_)) | Err(_) => all.with_env(&self.job.spec.env),
        }
    }

    /// Moves the start and the deadline if the machine's clock was set since the command began, so that it runs neither
    /// shorter nor longer than it may, and is not said to have. Returns whether the clock was set.
    pub(super) fn follow_clock_change(&mut self) -> bool {
        let begun = self.job.started_up.and_then(|uptime| self.core.clock.at(uptime));
        let (Some(begun), Some(recorded)) = (begun, self.job.started_at) else { return false };
        let jump = begun.duration_since(recorded);
        if jump.abs() < CLOCK_TOLERANCE {
            return false;
        }
        warn!(job = %self.job.id, jump_s = jump.as_secs_f64(), "the machine's clock was set while it ran; its deadline moves by as much");
        self.job.started_at = Some(begun);
        self.job.deadline_at = self.job.deadline_at.and_then(|at| at.checked_add(jump).ok());
        true
    }

    /// Reattaches to the run, once the engine has listed its containers; waits while the engine is away. A container
    /// counts as gone if the engine says so when it is asked for, not merely because the list lacks it.
    async fn reattach(
        &self,
        allocation: &Allocation,
        progress: &RecoveryProgress,
    ) -> Result<Result<Run, RuntimeError>, OwnershipLost> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let reattached = async {
            progress.containers_listed().await;
            loop {
                match self.core.runtime.reattach(allocation.container.id()).await {
                    Err(error)
                        if matches!(
                            error.kind(),
                            RuntimeErrorKind::Unavailable | RuntimeErrorKind::Deadline
                        ) =>
                    {
                        warn!(job = %self.job.id, %error, "cannot reattach to a run, trying again");
                        self.core.engine.note_error(&error);
                    }
                    answer => return answer,
                }
                backoff.wait().await;
                self.core.engine.wait_until_available().await;
            }
        };
        tokio::select! {
            answer = reattached => Ok(answer),
            () = self.core.shutdown.cancelled() => Err(OwnershipLost),
        }
    }

    /// Begins the next attempt, with a container of its own, after a start of which no command came. The recovery removes
    /// the container that may be there before any slot is granted; this removes it if it has an `allocation`.
    pub(super) async fn start_over(&mut self, allocation: Option<Allocation>) -> Result<(), OwnershipLost> {
        if matches!(self.job.state, State::Stopping(_)) {
            if let Some(allocation) = allocation {
                self.release(allocation).await?;
            }
            return self.end(Outcome::Cancelled, None, None).await;
        }
        // the journal first: if the platform ended after the removal and before the write, the journal would say that a
        // command runs in a container that is gone, and a run would count as lost that never began
        self.requeue(&RetryPlan::at_once("platform_restarted")).await?;
        if let Some(allocation) = allocation {
            self.release(allocation).await?;
        }
        self.wait_and_drive(Duration::ZERO).await
    }

    /// Waits for the next slot, and drives the job from there to its terminal state.
    async fn wait_and_drive(&mut self, pause: Duration) -> Result<(), OwnershipLost> {
        let waited = self.wait(pause).await;
        self.drive(waited).await
    }
}
