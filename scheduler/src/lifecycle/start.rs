//! From its turn to its invocation: the container is made, and what goes wrong with that is decided.

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

use super::record::Again;
use super::{Handed, Lifecycle, Next, Seat};
use crate::blueprint::Plan;
use crate::job::{Failure, Outcome, Transition};
use crate::slots::Slot;

/// How long to wait at the most before an engine that was away is tried again.
const ENGINE_PAUSE: Duration = Duration::from_secs(15);
/// How long it may take to find out what a job runs in.
pub(super) const PLAN: Duration = Duration::from_secs(10);

/// What came of a start.
pub(super) enum Start {
    Running(Seat, Run),
    Not(Next),
}

impl Lifecycle {
    /// Makes its container and gives it the invocation.
    pub(super) async fn start(&mut self, mut slot: Slot) -> Result<Start, Handed> {
        self.starts += 1;
        let decision = slot.take_decision();
        self.pass(Transition::Admit, decision.map(|decision| decision.data()).unwrap_or_default());
        self.pass(Transition::Start, Map::new());
        let plan = match timeout(PLAN, self.core.blueprint.plan(&self.job)).await {
            Ok(Ok(plan)) => plan,
            Ok(Err(error)) => return self.start_failed(Failure::StartFailed, &error).await,
            Err(_) => {
                return self.start_failed(Failure::StartFailed, "no plan for it was made in time").await;
            }
        };
        let redactor = self.core.config.redactor.with_env(&plan.env);
        let seat = Seat { slot, claim: self.claim(), since: Instant::now(), redactor };
        let placement = Placement {
            slot: seat.claim.slot().clone(),
            workspace: Some(Workspace::Directory(plan.workspace_dir.clone())),
            labels: plan.labels.clone(),
        };
        match (self.create(&plan.spec, &placement).await?, self.cancel.is_cancelled()) {
            (Ok(()), false) => {}
            (Err(error), false) => return self.not_created(seat, error).await,
            (Ok(()), true) => {
                self.leave(seat).await?;
                return self.cancelled().await;
            }
            (Err(_), true) => {
                drop(seat.slot);
                self.remove_later(seat.claim);
                return self.cancelled().await;
            }
        }
        let now = self.core.clock.now();
        self.job.started_at = Some(now);
        self.job.started_up = Some(self.core.clock.uptime());
        self.job.runs += 1;
        self.job.deadline_at = now.checked_add(Duration::from_secs(self.job.spec.timeout_s.into())).ok();
        self.advance(Transition::Run).await?;
        self.core.live.set_running(self.job.id, Some(self.job.attempt));
        match self.core.runtime.invoke(seat.claim.slot(), self.invocation(plan)).await {
            Ok(run) => Ok(Start::Running(seat, run)),
            // it may have been heard, so it is not said again
            Err(error) => {
                self.leave(seat).await?;
                self.start_failed(Failure::RuntimeLost, &error.to_string()).await
            }
        }
    }

    /// Makes its container. That it is being made is written down meanwhile; if it is there at once, that is written
    /// down together with the run. A cancel is written down at once, and takes effect when the engine has answered.
    async fn create(
        &mut self,
        spec: &ContainerSpec,
        placement: &Placement,
    ) -> Result<Result<(), RuntimeError>, Handed> {
        let (runtime, cancel) = (self.core.runtime.clone(), self.cancel.clone());
        let mut creating = pin!(maybe_done(make(&*runtime, spec, placement)));
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
                () = cancel.cancelled() => self.advance(Transition::Stop(Outcome::Cancelled)).await?,
            }
            creating.as_mut().await;
        }
        Ok(creating.take_output().expect("it is done"))
    }

    async fn cancelled(&mut self) -> Result<Start, Handed> {
        self.end(Outcome::Cancelled, None, None).await?;
        Ok(Start::Not(Next::Over))
    }

    /// Decides what becomes of a job whose container could not be made.
    async fn not_created(&mut self, seat: Seat, error: RuntimeError) -> Result<Start, Handed> {
        use RuntimeErrorKind as Kind;
        warn!(job = %self.job.id, %error, "cannot create a container");
        self.core.note(&error);
        drop(seat.slot);
        self.remove_later(seat.claim);
        match error.kind() {
            Kind::ImageMissing => self.start_failed(Failure::ImageMissing, &error.to_string()).await,
            // what the operator has to change does not change by itself
            Kind::OciRuntimeMissing => self.start_failed(Failure::StartFailed, &error.to_string()).await,
            // fail closed: it waits for the engine, and goes nowhere else
            Kind::Unavailable | Kind::Deadline => {
                let pause = pause(2, self.starts).min(ENGINE_PAUSE);
                self.again(Again { reason: "runtime_unavailable", tries: None, pause }).await
            }
            Kind::Conflict | Kind::NotReady | Kind::NotFound | Kind::NotInvoked | Kind::Refused => {
                let (starts, of) = (self.starts, self.core.config.start_tries);
                if starts < of {
                    let tries = Some((starts, of));
                    self.again(Again { reason: "start_failed", tries, pause: pause(4, starts) }).await
                } else {
                    self.start_failed(Failure::StartFailed, &error.to_string()).await
                }
            }
        }
    }

    async fn again(&mut self, again: Again) -> Result<Start, Handed> {
        self.requeue(&again).await?;
        Ok(Start::Not(Next::Again(again.pause)))
    }

    async fn start_failed(&mut self, failure: Failure, error: &str) -> Result<Start, Handed> {
        self.end(Outcome::Failed(failure), None, Some(error.to_owned())).await?;
        Ok(Start::Not(Next::Over))
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
            timeout_ms: self.job.deadline_at.map_or(0, |at| millis(self.core.clock.until(at))),
            grace_ms: millis(self.core.config.grace),
            team: plan.team,
        }
    }
}

/// Makes a container. What stands in its place already was made for this same attempt, by an earlier process of the
/// platform that did not come to write it down: so nothing was invoked in it, and it goes.
async fn make(
    runtime: &dyn Runtime,
    spec: &ContainerSpec,
    placement: &Placement,
) -> Result<(), RuntimeError> {
    match runtime.create(spec, placement).await {
        Err(error) if error.kind() == RuntimeErrorKind::Conflict => {
            runtime.remove(&placement.slot).await?;
            runtime.create(spec, placement).await
        }
        made => made,
    }
}

/// One second after the first try, and `factor` times as long after each further one.
fn pause(factor: u64, tries: u32) -> Duration {
    Duration::from_secs(factor.saturating_pow(tries.saturating_sub(1)))
}
