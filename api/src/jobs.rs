//! `/api/jobs` and `/api/sessions/{id}/jobs`: submit, read, list and cancel jobs.

#[cfg(test)]
mod admission_tests;
mod batch;
mod continuation;
mod enqueue;
mod explain;
mod request;
mod terms;
mod timeline;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mgx_protocol::{JobId, SessionId, StateName, UnknownState};
use mgx_scheduler::{CancelError, CancelRequest, Job, JobFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::http::extract::{Json, Path, Query, cut, limit};
use crate::http::ids::Ids;
use crate::http::problem::{FieldError, Problem, Slug};
use crate::state::App;

pub(crate) use enqueue::enqueue;
pub(crate) use request::NewJob;
pub(crate) use view::JobView;

/// A page of jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobPage {
    jobs: Vec<JobView>,
    /// The `cursor` of the next page, if there is one.
    #[schema(value_type = Option<uuid::Uuid>)]
    next: Option<JobId>,
}

/// The query: which jobs.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// Only in this state.
    state: Option<String>,
    /// Only of this session.
    #[param(value_type = Option<String>)]
    session: Option<SessionId>,
    /// Only older than this job: `next` of the page before.
    #[param(value_type = Option<uuid::Uuid>)]
    cursor: Option<JobId>,
    /// At most so many: 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(submit, list_of_session))
        .routes(routes!(list))
        .routes(routes!(look))
        .routes(routes!(cancel))
        .merge(batch::routes())
        .merge(continuation::routes())
        .merge(timeline::routes())
        .merge(explain::routes())
}

/// Submit a job. When the answer comes the job is stored, and waits in the queue.
#[utoipa::path(
    post, path = "/api/sessions/{id}/jobs", tag = "jobs", request_body = NewJob,
    params(("id" = String, Path, description = "the session")),
    responses((status = 202, description = "stored; `Location` leads to it", body = JobView,
        headers(("location" = String, description = "the job"))))
)]
async fn submit(
    State(app): State<Arc<App>>,
    caller: Caller,
    ids: Ids,
    Path(session): Path<SessionId>,
    Json(new): Json<NewJob>,
) -> Result<Response, Problem> {
    let session = app.sessions.get(&session, caller.sees()).await?;
    let spec = new.checked(&app.rules)?;
    app.app_clients().register_for(&session, [&spec].into_iter()).await?;
    Ok(accepted(enqueue(&app, &session, spec, &ids).await?))
}

/// The jobs of a session, newest first.
#[utoipa::path(
    get, path = "/api/sessions/{id}/jobs", tag = "jobs",
    params(("id" = String, Path, description = "the session"), JobQuery),
    responses((status = 200, description = "a page of jobs", body = JobPage))
)]
async fn list_of_session(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(session): Path<SessionId>,
    Query(query): Query<JobQuery>,
) -> Result<axum::Json<JobPage>, Problem> {
    let session = app.sessions.get(&session, caller.sees()).await?;
    page(&app, &caller, JobQuery { session: Some(session.id), ..query }).await
}

/// Jobs, newest first.
#[utoipa::path(
    get, path = "/api/jobs", tag = "jobs", params(JobQuery),
    responses((status = 200, description = "a page of jobs", body = JobPage))
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<JobQuery>,
) -> Result<axum::Json<JobPage>, Problem> {
    page(&app, &caller, query).await
}

/// A job as it stands.
#[utoipa::path(
    get, path = "/api/jobs/{id}", tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "the job")),
    responses((status = 200, description = "the job", body = JobView))
)]
async fn look(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<axum::Json<JobView>, Problem> {
    let job = find(&app, &caller, id).await?;
    let place = app.position(id);
    Ok(axum::Json(JobView::new(job, place)))
}

/// Cancel a job. It has ended when its `finish` event comes.
#[utoipa::path(
    post, path = "/api/jobs/{id}/cancel", tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "the job")),
    responses(
        (status = 202, description = "it is being ended", body = JobView),
        (status = 200, description = "it was being ended already", body = JobView))
)]
async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<(StatusCode, axum::Json<JobView>), Problem> {
    find(&app, &caller, id).await?;
    let (status, job) = match app.scheduling()?.scheduler.cancel(id).await? {
        CancelRequest::Requested(job) => (StatusCode::ACCEPTED, job),
        CancelRequest::AlreadyRequested(job) => (StatusCode::OK, job),
    };
    Ok((status, axum::Json(JobView::new(job, None))))
}

/// The answer to a job that was accepted.
pub(crate) fn accepted(job: JobView) -> Response {
    (StatusCode::ACCEPTED, [(header::LOCATION, job.location())], axum::Json(job)).into_response()
}

/// The job `id`, if the caller may see it; otherwise it is answered as if it did not exist.
pub(crate) async fn find(app: &App, caller: &Caller, id: JobId) -> Result<Job, Problem> {
    let job = app.jobs.job(id).await?;
    job.filter(|job| caller.sees().is_none_or(|name| name == job.user))
        .ok_or_else(|| Problem::not_found("job"))
}

async fn page(app: &App, caller: &Caller, query: JobQuery) -> Result<axum::Json<JobPage>, Problem> {
    let limit = limit(query.limit, 50, 200)?;
    let state = query.state.map(|name| name.parse().map_err(|UnknownState| unknown_state())).transpose()?;
    let filter = JobFilter {
        session: query.session,
        user: caller.sees().map(str::to_owned),
        state,
        before: query.cursor,
        limit: limit + 1,
    };
    let mut jobs = app.jobs.jobs(filter).await?;
    let next = cut(&mut jobs, limit, |job| job.id);
    let view = |job: Job| {
        let place = app.position(job.id);
        JobView::new(job, place)
    };
    Ok(axum::Json(JobPage { jobs: jobs.into_iter().map(view).collect(), next }))
}

fn unknown_state() -> Problem {
    let detail = format!("one of {}", StateName::ALL.map(StateName::as_str).join(", "));
    Problem::validation(vec![FieldError::parameter("state", detail)])
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NotFound => Self::not_found("job"),
            CancelError::Ended(job) => {
                Self::new(Slug::AlreadyFinished, format!("the job has ended: {}", job.state.name()))
            }
            CancelError::Journal(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mgx_scheduler::{Failure, Outcome, State};

    #[test]
    fn every_state_can_be_filtered_by() {
        let outcomes = [
            Outcome::Succeeded,
            Outcome::Failed(Failure::OomKilled),
            Outcome::Cancelled,
            Outcome::TimedOut,
            Outcome::Expired,
        ];
        let states = [
            State::Queued,
            State::Admitted,
            State::Starting,
            State::Running,
            State::Stopping(Outcome::Cancelled),
        ];
        let names: Vec<_> = states.into_iter().chain(outcomes.map(State::Ended)).map(State::name).collect();
        assert_eq!(names, StateName::ALL);
    }
}
