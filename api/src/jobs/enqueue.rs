//! Submits checked jobs to admission. A job belongs to the owner of its session.

use std::sync::Arc;

use mgx_apps::{Session, Usage};
use mgx_policies::{Batch, RequestedJob, SpentBudget, Submitter};
use mgx_protocol::JobId;
use mgx_scheduler::{Accepted, JobSpec, JournalError};

use super::view::JobView;
use crate::http::Problem;
use crate::http::ids::Ids;
use crate::state::App;

/// Submits the jobs of one request. The answers have the order of `specs`; an invalid job keeps its problem. A job that
/// an earlier request with the same `Idempotency-Key` has made is found.
pub(crate) async fn enqueue_all(
    app: &App,
    session: &Session,
    specs: Vec<Result<JobSpec, Problem>>,
    ids: &Ids,
) -> Result<Vec<Result<JobView, Problem>>, Problem> {
    let mut jobs = Vec::with_capacity(specs.len());
    let mut answers = Vec::with_capacity(specs.len());
    for (spec, index) in specs.into_iter().zip(0..) {
        let id = ids.job(index);
        answers.push(match (spec, earlier(app, ids, id).await) {
            (Err(problem), _) => Some(Err(problem)),
            (Ok(_), Err(error)) => Some(Err(error.into())),
            (Ok(_), Ok(Some(job))) => Some(Ok(job)),
            (Ok(spec), Ok(None)) => {
                jobs.push(RequestedJob { id, spec });
                None
            }
        });
    }
    let from =
        Submitter { user: session.user.clone(), session: session.id.clone(), spent: spent(session.usage) };
    let batch = Batch { from: Arc::new(from), jobs };
    let mut decisions = app.scheduling()?.admission.submit(batch).await.into_iter();
    let mut decided = || match decisions.next().expect("there is a decision for each job") {
        Ok(Accepted { job, position }) => Ok(JobView::new(job, Some(position))),
        Err(refusal) => Err(refusal.into()),
    };
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(&mut decided)).collect())
}

/// Submits one job.
pub(crate) async fn enqueue(
    app: &App,
    session: &Session,
    spec: JobSpec,
    ids: &Ids,
) -> Result<JobView, Problem> {
    let answers = enqueue_all(app, session, vec![Ok(spec)], ids).await?;
    answers.into_iter().next().expect("one job has one answer")
}

/// The job that an earlier request with the same `Idempotency-Key` has made under this id.
async fn earlier(app: &App, ids: &Ids, id: JobId) -> Result<Option<JobView>, JournalError> {
    if ids.resumed().is_none() {
        return Ok(None);
    }
    let job = app.jobs.job(id).await?;
    Ok(job.map(|job| {
        let place = app.position(id);
        JobView::new(job, place)
    }))
}

fn spent(usage: Usage) -> SpentBudget {
    let Usage { requests, prompt_tokens, completion_tokens, cost_micros } = usage;
    SpentBudget { requests, tokens: prompt_tokens.saturating_add(completion_tokens), cost_micros }
}
