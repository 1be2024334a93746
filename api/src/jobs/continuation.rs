//! `POST /api/jobs/{id}/continue`: a new job that goes on where a failed one has stopped.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use mgx_protocol::JobId;
use mgx_scheduler::{Job, JobSpec, Outcome, SchedulingOptions};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{JobView, accepted, enqueue, find};
use crate::auth::Caller;
use crate::http::extract::Path;
use crate::http::ids::Ids;
use crate::http::{Problem, Slug};
use crate::state::App;

/// How many jobs in a row may go on from one another.
const MAX_CHAIN: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(continue_job))
}

/// Continue a job of the team that has failed, timed out or was cancelled: a new job of the same session goes on from its
/// messages, so that no call of the model is made and paid for twice.
#[utoipa::path(
    post, path = "/api/jobs/{id}/continue", tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "the job that has stopped")),
    responses(
        (status = 202, description = "the new job is stored; `Location` leads to it", body = JobView,
            headers(("location" = String, description = "the new job"))),
        (status = 409, description = "`conflict`: the job has not ended, has succeeded, or ran a command"))
)]
async fn continue_job(
    State(app): State<Arc<App>>,
    caller: Caller,
    ids: Ids,
    Path(id): Path<JobId>,
) -> Result<Response, Problem> {
    let job = find(&app, &caller, id).await?;
    let spec = continued(&job).map_err(|why| Problem::new(Slug::Conflict, why))?;
    let session = app.sessions.get(&job.session, caller.sees()).await?;
    Ok(accepted(enqueue(&app, &session, spec, &ids).await?))
}

/// The job that goes on from `job`, or why none can.
fn continued(job: &Job) -> Result<JobSpec, String> {
    if !job.spec.command.is_empty() {
        return Err("the job ran a command; submit it again instead".to_owned());
    }
    match job.state.outcome() {
        None => return Err(format!("the job has not ended: it is {}", job.state.name())),
        Some(Outcome::Succeeded) => {
            return Err("the job has succeeded; send the next prompt instead".to_owned());
        }
        Some(Outcome::Failed(_) | Outcome::Cancelled | Outcome::TimedOut | Outcome::Expired) => {}
    }
    if job.spec.continues.len() >= MAX_CHAIN {
        return Err(format!("{MAX_CHAIN} jobs go on from one another already; send a new prompt instead"));
    }
    let mut spec = job.spec.clone();
    spec.continues.push(job.id);
    spec.options = SchedulingOptions { start_at: None, ..spec.options };
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::view::tests::job;
    use mgx_scheduler::{Failure, State};

    #[test]
    fn only_a_job_of_the_team_that_has_stopped_can_be_continued() {
        let of_team = |state: State| {
            let mut job = job(state);
            job.spec.command.clear();
            job
        };
        let failed = of_team(State::Ended(Outcome::Failed(Failure::ProviderUnavailable)));
        assert_eq!(continued(&failed).unwrap().continues, [failed.id]);
        for job in [
            of_team(State::Running),
            of_team(State::Ended(Outcome::Succeeded)),
            job(State::Ended(Outcome::Cancelled)),
        ] {
            assert!(continued(&job).is_err(), "{:?}", job.state);
        }
    }
}
