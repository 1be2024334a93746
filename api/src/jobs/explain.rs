//! `GET /api/jobs/{id}/explain`: what a job waits for, which jobs hold it, how long it will wait, and what would help.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId};
use mgx_scheduler::{Explanation, Job, ProviderWait, WaitsFor};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::find;
use crate::auth::Caller;
use crate::http::Problem;
use crate::http::extract::Path;
use crate::state::App;

/// How many of the jobs that use a limit are listed.
const MAX_HOLDERS: usize = 10;

/// What a job waits for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainView {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// Its state.
    state: &'static str,
    /// What it waits for: `start_time`, `retry` (the pause before its next try), `provider`
    /// (the model's provider is away), `turn` (others go first), `limit`
    /// (one is reached), `engine` (it is away), `container` (it is made), `command` (it runs), `stop` (it is being
    /// ended), `nothing` (it has ended).
    #[schema(value_type = String, example = "limit")]
    waits_for: WaitsFor,
    /// Its position in the queue; 1: it is next.
    position: Option<u64>,
    /// Estimated milliseconds until its turn, from the run times of earlier jobs; absent before a job has run.
    eta_ms: Option<u64>,
    /// The uncertainty of the estimate in either direction, in milliseconds.
    eta_error_ms: Option<u64>,
    /// The limit that keeps it from running, even at the head of the queue.
    binding: Option<BindingView>,
    /// The cheapest change that would start it now.
    remedy: Option<String>,
    /// Its wait for the model's provider, if it waits for that.
    provider: Option<ProviderWaitView>,
}

/// A job's wait for its model's provider; it holds no slot meanwhile.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProviderWaitView {
    /// Since when the provider is away.
    since: Timestamp,
    /// When it is asked again.
    until: Timestamp,
    /// What it says.
    reason: String,
}

/// A limit that keeps a job from running.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BindingView {
    /// Its key in the configuration.
    limit: String,
    /// What is used of it.
    used: u64,
    /// What this job asks for.
    asked: u64,
    /// What there is.
    max: u64,
    /// How many jobs use it.
    holder_count: usize,
    /// At most ten of them, and only those that the caller may see.
    holders: Vec<HolderView>,
    /// How many jobs have ended and use it all the same, because the engine cannot remove their containers.
    leftover_count: usize,
    /// At most ten of those, and only those that the caller may see.
    leftovers: Vec<HolderView>,
}

/// A job that uses a limit for which another job waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HolderView {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// Its session.
    #[schema(value_type = String)]
    session_id: SessionId,
    /// The user that owns it.
    user: String,
    /// Its state.
    state: &'static str,
    /// When its command began to run.
    started_at: Option<Timestamp>,
    /// When it must have ended.
    deadline_at: Option<Timestamp>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// What a job waits for, and what would help.
#[utoipa::path(
    get, path = "/api/jobs/{id}/explain", tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "the job")),
    responses((status = 200, description = "what it waits for", body = ExplainView))
)]
async fn explain(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<axum::Json<ExplainView>, Problem> {
    find(&app, &caller, id).await?;
    // the explanation is read before the job: the job's state may be newer than the explanation, never older
    let explained =
        app.scheduling()?.scheduler.explain(id).await?.ok_or_else(|| Problem::not_found("job"))?;
    let job = find(&app, &caller, id).await?;
    let (mut holders, mut leftovers) = (Vec::new(), Vec::new());
    if let Some(binding) = &explained.binding {
        for holder in binding.holders.iter().take(MAX_HOLDERS) {
            holders.extend(app.jobs.job(*holder).await?);
        }
        for leftover in binding.leftovers.iter().take(MAX_HOLDERS) {
            leftovers.extend(app.jobs.job(*leftover).await?);
        }
    }
    Ok(axum::Json(ExplainView::new(&job, explained, holders, leftovers, caller.sees())))
}

impl ExplainView {
    fn new(
        job: &Job,
        explained: Explanation,
        holders: Vec<Job>,
        leftovers: Vec<Job>,
        scope: Option<&str>,
    ) -> Self {
        let Explanation { waits_for, ahead, eta_ms, eta_error_ms, binding, remedy, provider } = explained;
        let named = holders.len() + leftovers.len();
        let may_see = |jobs: Vec<Job>| -> Vec<HolderView> {
            let own = jobs.into_iter().filter(|job| scope.is_none_or(|user| user == job.user));
            own.map(HolderView::of).collect()
        };
        let (holders, leftovers) = (may_see(holders), may_see(leftovers));
        // a remedy may name a job, and a caller must not learn of other users' jobs
        let remedy = remedy.filter(|_| holders.len() + leftovers.len() == named);
        let binding = binding.map(|binding| BindingView {
            limit: binding.limit.to_string(),
            used: binding.used,
            asked: binding.asked,
            max: binding.max,
            holder_count: binding.holders.len(),
            holders,
            leftover_count: binding.leftovers.len(),
            leftovers,
        });
        Self {
            job_id: job.id,
            state: job.state.name().as_str(),
            waits_for,
            position: ahead.map(|ahead| ahead as u64 + 1),
            eta_ms,
            eta_error_ms,
            binding,
            remedy,
            provider: provider.map(|ProviderWait { since, until, pause_ms: _, reason }| ProviderWaitView {
                since,
                until,
                reason,
            }),
        }
    }
}

impl HolderView {
    fn of(job: Job) -> Self {
        Self {
            job_id: job.id,
            state: job.state.name().as_str(),
            session_id: job.session,
            user: job.user,
            started_at: job.started_at,
            deadline_at: job.deadline_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::view::tests::job;
    use mgx_scheduler::{BlockingLimit, LimitKey, State};

    fn explained(scope: Option<&str>) -> ExplainView {
        let holder = Job { id: JobId(uuid::Uuid::from_u128(8)), user: "anna".into(), ..job(State::Running) };
        let binding = BlockingLimit {
            limit: LimitKey::Running,
            used: 1,
            asked: 1,
            max: 1,
            holders: vec![holder.id],
            leftovers: Vec::new(),
        };
        let explanation = Explanation {
            waits_for: WaitsFor::Limit,
            ahead: Some(0),
            eta_ms: Some(4000),
            eta_error_ms: Some(1500),
            remedy: Some(format!("cancel {}, or raise scheduler.max_running above 1", holder.id)),
            binding: Some(binding),
            provider: None,
        };
        ExplainView::new(&job(State::Queued), explanation, vec![holder], Vec::new(), scope)
    }

    #[test]
    fn the_explanation_of_a_waiting_job_has_its_limit_and_the_jobs_that_use_it() {
        insta::assert_json_snapshot!(explained(None));
    }

    #[test]
    fn a_caller_does_not_learn_of_other_users_jobs() {
        let view = explained(Some("bert"));
        let text = serde_json::to_string(&view).unwrap();
        assert!(!text.contains("anna") && !text.contains("000000000008"), "{text}");
        assert_eq!(view.binding.map(|binding| binding.holder_count), Some(1));
        assert!(explained(Some("anna")).remedy.is_some());
    }
}
