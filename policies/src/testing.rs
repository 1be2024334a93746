//! What the tests of this crate share: batches, and a scheduler that takes everything.

use std::convert::Infallible;
use std::future::Ready;
use std::sync::Arc;

use jiff::Timestamp;
use mgx_protocol::{Attempt, JobId};
use mgx_runtimes::Limits;
use mgx_scheduler::{Accepted, Job, JobSpec, Kind, QueuePosition, SchedulingOptions, State};
use tower::{Service, ServiceExt};

use crate::batch::{Batch, Decision, RequestedJob, Submitter};
use crate::limits::SpentBudget;

/// Agent jobs with these prompts, of a user who has spent nothing.
pub(crate) fn batch(prompts: &[&str]) -> Batch {
    let jobs = prompts.iter().map(|prompt| RequestedJob { id: JobId::new(), spec: spec(prompt) }).collect();
    Batch { from: Arc::new(submitter("ann")), jobs }
}

pub(crate) fn submitter(user: &str) -> Submitter {
    Submitter { user: user.to_owned(), session: "demo".parse().unwrap(), spent: SpentBudget::default() }
}

pub(crate) fn spec(prompt: &str) -> JobSpec {
    JobSpec {
        kind: Kind::Agent,
        prompt: prompt.to_owned(),
        command: Vec::new(),
        env: std::collections::BTreeMap::new(),
        workdir: "/workspace".to_owned(),
        limits: Limits { memory_bytes: 1 << 30, cpu_quota: 100_000, pids: 256 },
        timeout_s: 60,
        options: SchedulingOptions::default(),
        continues: Vec::new(),
    }
}

pub(crate) async fn ask(
    service: impl Service<Batch, Response = Vec<Decision>, Error = Infallible>,
    batch: Batch,
) -> Vec<Decision> {
    service.oneshot(batch).await.unwrap_or_else(|never| match never {})
}

/// Accepts every job.
pub(crate) fn accept(batch: Batch) -> Ready<Result<Vec<Decision>, Infallible>> {
    let Submitter { user, session, spent: _ } = &*batch.from;
    let accepted = |RequestedJob { id, spec }| {
        let job = Job {
            id,
            session: session.clone(),
            user: user.clone(),
            spec,
            state: State::Queued,
            attempt: Attempt(1),
            runs: 0,
            queued_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            started_up: None,
            deadline_at: None,
            ended_at: None,
            exit: None,
            error: None,
            provider_wait: None,
            ran_ms: 0,
            runtime: None,
        };
        Ok(Accepted { job, position: QueuePosition { ahead: 0, eta_ms: None } })
    };
    std::future::ready(Ok(batch.jobs.into_iter().map(accepted).collect()))
}

/// The prompt of each job that was accepted, and the limit or the policy that kept out each other.
pub(crate) fn outcomes(decisions: Vec<Decision>) -> Vec<String> {
    let text = |decision: Decision| match decision {
        Ok(accepted) => accepted.job.spec.prompt,
        Err(refusal) => refusal.hit().map_or(refusal.policy(), |hit| hit.limit).to_owned(),
    };
    decisions.into_iter().map(text).collect()
}
