//! `POST /api/sessions/{id}/jobs:batch`: many jobs in one request, each accepted or refused on its own.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mgx_protocol::{JobId, SessionId};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::enqueue::enqueue_all;
use super::request::NewJob;
use super::view::JobView;
use crate::auth::Caller;
use crate::http::extract::{MAX_BATCH_BODY, Path, read_body, require_json};
use crate::http::ids::Ids;
use crate::http::problem::{Problem, ProblemView};
use crate::http::strict_json;
use crate::state::App;

/// The most jobs of a batch.
const MAX_JOBS: usize = 1000;

/// Jobs to submit, in this order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJobs {
    /// 1 to 1000 jobs. An invalid job is refused, and the others are not.
    #[serde(deserialize_with = "bounded")]
    #[schema(value_type = Vec<NewJob>, min_items = 1, max_items = 1000, example = json!([{ "prompt": "build a todo list" }]))]
    jobs: Vec<Box<RawValue>>,
}

/// The results of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchView {
    /// How many were accepted.
    accepted: usize,
    /// One result for each job, in the order of the request.
    results: Vec<BatchResult>,
}

/// The result of one job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum BatchResult {
    /// The job is stored, and waits in the queue.
    Accepted {
        /// 202.
        status: u16,
        /// Its id: `/api/jobs/{job_id}` leads to it.
        #[schema(value_type = uuid::Uuid)]
        job_id: JobId,
        /// Its position in the queue when it was accepted; 1: it is next.
        position: Option<u64>,
        /// Estimated milliseconds until its turn, if there is an estimate.
        eta_ms: Option<u64>,
    },
    /// Nothing of the job is stored.
    Refused {
        /// The status of the answer if the job had been submitted alone.
        status: u16,
        /// The problem; its pointers begin at the job.
        problem: ProblemView,
    },
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(submit))
}

/// Submit many jobs at once. When the answer comes the accepted jobs are stored. If no job is accepted and a later
/// request may succeed, the answer is the problem of the first job.
#[utoipa::path(
    post, path = "/api/sessions/{id}/jobs:batch", tag = "jobs", operation_id = "submit_batch", request_body = NewJobs,
    params(("id" = String, Path, description = "the session")),
    responses((status = 202, description = "one result for each job; those that were accepted are stored", body = BatchView))
)]
async fn submit(
    State(app): State<Arc<App>>,
    caller: Caller,
    ids: Ids,
    Path(session): Path<SessionId>,
    request: Request,
) -> Result<Response, Problem> {
    require_json(request.headers())?;
    let session = app.sessions.get(&session, caller.sees()).await?;
    let body = read_body(request, MAX_BATCH_BODY).await?;
    let NewJobs { jobs } = strict_json::parse(&body)?;
    let checked = |job: &RawValue| strict_json::shape::<NewJob>(job.get().as_bytes())?.checked(&app.rules);
    let specs: Vec<_> = jobs.iter().map(|job| checked(job)).collect();
    app.app_clients().register_for(&session, specs.iter().flatten()).await?;
    let outcomes = enqueue_all(&app, &session, specs, &ids).await?;

    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    if outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(Problem::is_retryable)) {
        let first = outcomes.into_iter().find_map(Result::err);
        return Err(first.expect("there is at least one job, and all were refused"));
    }
    let results = outcomes.into_iter().map(BatchResult::of).collect();
    Ok((StatusCode::ACCEPTED, axum::Json(BatchView { accepted, results })).into_response())
}

/// Stops at the first job too many, so that a long list cannot fill the memory.
fn bounded<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<Box<RawValue>>, D::Error> {
    struct Jobs;
    impl<'de> Visitor<'de> for Jobs {
        type Value = Vec<Box<RawValue>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "1 to {MAX_JOBS} jobs")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut json: A) -> Result<Self::Value, A::Error> {
            let mut jobs = Vec::new();
            while let Some(job) = json.next_element()? {
                jobs.push(job);
                if jobs.len() > MAX_JOBS {
                    return Err(A::Error::custom(format_args!("more than {MAX_JOBS} jobs")));
                }
            }
            if jobs.is_empty() { Err(A::Error::invalid_length(0, &self)) } else { Ok(jobs) }
        }
    }
    json.deserialize_seq(Jobs)
}

impl BatchResult {
    fn of(outcome: Result<JobView, Problem>) -> Self {
        match outcome {
            Ok(job) => {
                let (job_id, position, eta_ms) = job.place();
                Self::Accepted { status: StatusCode::ACCEPTED.as_u16(), job_id, position, eta_ms }
            }
            Err(problem) => {
                Self::Refused { status: problem.slug().status().as_u16(), problem: problem.view() }
            }
        }
    }
}
