//! From the granted slot to the invocation: the container is created, and what follows if that fails.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::maybe_done;
use futures_util::poll;
use mgx_protocol::{Invocation, WORKSPACE_DIR};
use mgx_runtimes::{ContainerSpec, Placement, Run, Runtime, RuntimeError, RuntimeErrorKind, Workspace};
use serde_json::Map;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::exit_outcome::ExitOutcome;
use super::record::RetryPlan;
use super::{AfterAttempt, Allocation, Lifecycle};
use crate::core::OwnershipLost;
use crate::job::blueprint::Plan;
use crate::job::state::{Failure, Outcome, Transition};
use crate::queue::slots::Slot;

/// The longest pause before a container is created again after the engine was away.
const ENGINE_MAX_PAUSE: Duration = Duration::from_secs(15);
/// What an attempt gets at least that goes on after a wait for a provider.
const MIN_RUN_TIME: Duration = Duration::from_secs(5);
/// How long the blueprint may take to plan an attempt.
pub(super) const PLAN_TIMEOUT: Duration = Duration::from_secs(10);

/// What came of starting an attempt.
pub(super) enum Started {
    Running(Allocation, Run),
    Failed(AfterAttempt),
}

impl Lifecycle {
    /// Creates the container and sends it the invocation.
    pub(super) async fn start(&mut self, mut slot: Slot) -> Result<Started, OwnershipLost> {
        self.starts += 1;
        let reason = slot.take_reason();
        self.record_transition(Transition::Admit, reason.map(|reason| reason.data()).unwrap_or_default());
        self.record_transition(Transition::Start, Map::new());
        let plan = match timeout(PLAN_TIMEOUT, self.core.blueprint.plan(&self.job)).await {
            Ok(Ok(plan)) => plan,
            Ok(Err(error)) => return self.fail(Failure::StartFailed, &error).await,
            Err(_) => {
                return self.fail(Failure::StartFailed, "the job was not planned in time").await;
            }
        };
        let redactor = self.core.config.redactor.with_env(&plan.env);
        let allocation =
            Allocation { slot, container: self.mark_container(), since: Instant::now(), redactor };
        let placement = Placement {
            slot: allocation.container.id().clone(),
            workspace: Some(Workspace::Directory(plan.workspace_dir.clone())),
            labels: plan.labels.clone(),
        };
        match (self.create(&plan.spec, &placement).await?, self.cancel.is_cancelled()) {
            (Ok(()), false) => {}
            (Err(error), false) => return self.creation_failed(allocation, error).await,
            (Ok(()), true) => {
                self.release(allocation).await?;
                return self.cancelled().await;
            }
            (Err(_), true) => {
                drop(allocation.slot);
                self.remove_later(allocation.container);
                return self.cancelled().await;
            }
        }
        let now = self.core.clock.now();
        self.job.started_at = Some(now);
        self.job.runtime = Some(self.core.config.runtime.clone());
        self.job.started_up = Some(self.core.clock.uptime());
        self.job.runs += 1;
        let allowed = Duration::from_secs(self.job.spec.timeout_s.into());
        let left =
            allowed.saturating_sub(Duration::from_millis(self.job.ran_ms)).max(MIN_RUN_TIME.min(allowed));
        self.job.deadline_at = now.checked_add(left).ok();
        self.deadline = Instant::now() + left;
        self.commit_transition(Transition::Run).await?;
        self.core.live.set_running(self.job.id, Some(self.job.attempt));
        match self.core.runtime.invoke(allocation.container.id(), self.invocation(plan)).await {
            Ok(run) => Ok(Started::Running(allocation, run)),
            // the runner may have received it, so it is not sent again: this run is lost, as when its container vanishes
            Err(error) => {
                self.release(allocation).await?;
                let (outcome, error) = (Outcome::Failed(Failure::RuntimeLost), Some(error.to_string()));
                let outcome = ExitOutcome { outcome, exit: None, error, resume_after: None };
                Ok(Started::Failed(self.retry_or_end(outcome).await?))
            }
        }
    }

    /// Creates the container. Meanwhile the journal is told that the job is starting; if the container is there at once,
    /// that is written together with the run. A cancel is written at once, and takes effect when the engine has answered.
    async fn create(
        &mut self,
        spec: &ContainerSpec,
        placement: &Placement,
    ) -> Result<Result<(), RuntimeError>, OwnershipLost> {
        let (runtime, cancel) = (self.core.runtime.clone(), self.cancel.clone());
        let mut creating = pin!(maybe_done(create(&*runtime, spec, placement)));
        if poll!(creating.as_mut()).is_pending() {
            let meanwhile = async {
                creating.as_mut().await;
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                written = self.flush() => written?,
                never = meanwhile => match never {},
            }
            tokio::select! {
                biased;
                () = creating.as_mut() => {}
                () = cancel.cancelled() => self.commit_transition(Transition::Stop(Outcome::Cancelled)).await?,
            }
            creating.as_mut().await;
        }
        Ok(creating.take_output().expect("it is done"))
    }

    async fn cancelled(&mut self) -> Result<Started, OwnershipLost> {
        self.end(Outcome::Cancelled, None, None).await?;
        Ok(Started::Failed(AfterAttempt::Ended))
    }

    /// Retries or ends a job whose container could not be created.
    async fn creation_failed(
        &mut self,
        allocation: Allocation,
        error: RuntimeError,
    ) -> Result<Started, OwnershipLost> {
        use RuntimeErrorKind as Kind;
        warn!(job = %self.job.id, %error, "cannot create a container");
        self.core.engine.note_error(&error);
        drop(allocation.slot);
        self.remove_later(allocation.container);
        match error.kind() {
            Kind::ImageMissing => self.fail(Failure::ImageMissing, &error.to_string()).await,
            // the operator has to change something first
            Kind::OciRuntimeMissing => self.fail(Failure::StartFailed, &error.to_string()).await,
            // the job waits for this engine, and runs on no other
            Kind::Unavailable | Kind::Deadline => {
                let pause = start_pause(2, self.starts).min(ENGINE_MAX_PAUSE);
                self.retry_later(RetryPlan { reason: "runtime_unavailable", tries: None, pause }).await
            }
            Kind::Conflict | Kind::NotReady | Kind::NotFound | Kind::NotInvoked | Kind::Refused => {
                let (starts, of) = (self.starts, self.core.config.start_tries);
                if starts < of {
                    let tries = Some((starts, of));
                    self.retry_later(RetryPlan {
                        reason: "start_failed",
                        tries,
                        pause: start_pause(4, starts),
                    })
                    .await
                } else {
                    self.fail(Failure::StartFailed, &error.to_string()).await
                }
            }
        }
    }

    async fn retry_later(&mut self, plan: RetryPlan) -> Result<Started, OwnershipLost> {
        self.requeue(&plan).await?;
        Ok(Started::Failed(AfterAttempt::Retry(plan.pause)))
    }

    async fn fail(&mut self, failure: Failure, error: &str) -> Result<Started, OwnershipLost> {
        self.end(Outcome::Failed(failure), None, Some(error.to_owned())).await?;
        Ok(Started::Failed(AfterAttempt::Ended))
    }

    fn invocation(&self, plan: Plan) -> Invocation {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let workdir = &self.job.spec.workdir;
        Invocation {
            job: self.job.id,
            attempt: self.job.attempt,
            session: self.job.session.clone(),
            workspace: plan.workspace,
            argv: self.job.spec.command.clone(),
            env: plan.env,
            workdir: if workdir.is_empty() { WORKSPACE_DIR.to_owned() } else { workdir.clone() },
            timeout_ms: millis(self.deadline.saturating_duration_since(Instant::now())),
            grace_ms: millis(self.core.config.grace),
            memory_bytes: plan.spec.limits.memory_bytes,
            team: plan.team,
            conversation: plan.conversation,
        }
    }
}

/// Creates a container. One with the same id was created for this same attempt by an earlier process of the platform,
/// which ended before it could write that to the journal: nothing was invoked in it, so it is replaced.
async fn create(
    runtime: &dyn Runtime,
    spec: &ContainerSpec,
    placement: &Placement,
) -> Result<(), RuntimeError> {
    match runtime.create(spec, placement).await {
        Err(error) if error.kind() == RuntimeErrorKind::Conflict => {
            runtime.remove(&placement.slot).await?;
            runtime.create(spec, placement).await
        }
        created => created,
    }
}

/// One second after the first try, and `factor` times as long after each further one.
fn start_pause(factor: u64, tries: u32) -> Duration {
    Duration::from_secs(factor.saturating_pow(tries.saturating_sub(1)))
}
