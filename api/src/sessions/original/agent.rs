//! `/api/apps/{id}/agent`: the team of a session, as the original's client speaks to it. `{id}` is the session.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::Response;
use mgx_apps::{MessagePage, message_of};
use mgx_protocol::{JobId, SessionId};
use mgx_scheduler::{Event, JobFilter};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::shapes::{OriginalMessage, seconds};
use crate::auth::Caller;
use crate::auth::credential::Credential;
use crate::events::block::FrameForm;
use crate::http::Problem;
use crate::http::extract::{Json, Path, Query, limit};
use crate::http::ids::Ids;
use crate::jobs::{NewJob, enqueue, find};
use crate::sessions::events::{Reading, stream};
use crate::state::App;

/// How long a request to stop waits for the jobs to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How many jobs of a session are looked at when it is stopped: more than may wait.
const MAX_JOBS: usize = 1000;

/// What the agents are to do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Prompt {
    /// What to do.
    #[schema(example = "build a todo list")]
    prompt: String,
}

/// The query: from when on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Since {
    /// Only events after this time, in seconds since 1970.
    since_timestamp: Option<f64>,
}

/// The query: how many messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Newest {
    /// At most so many, the newest: 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

/// The conversation, oldest message first.
#[derive(Debug, Serialize, ToSchema)]
struct History {
    messages: Vec<OriginalMessage>,
}

/// The answer to a request to stop.
#[derive(Debug, Serialize, ToSchema)]
struct Stopped {
    /// The jobs of the session are being cancelled.
    success: bool,
    /// All of them have ended.
    exited: bool,
}

/// A job, as the original has it.
#[derive(Debug, Serialize, ToSchema)]
struct Task {
    #[serde(rename = "task_id")]
    #[schema(value_type = uuid::Uuid)]
    id: JobId,
    /// Its state.
    status: &'static str,
    /// What went wrong.
    error: Option<String>,
}

pub(super) fn json_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(stop)).routes(routes!(history)).routes(routes!(task))
}

pub(super) fn raw_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(generate)).routes(routes!(go_on))
}

/// Let the agents of a session work on a prompt, and follow them: the answer is a flat event stream.
#[utoipa::path(
    post, path = "/api/apps/{id}/agent/generate", tag = "original", request_body = Prompt,
    operation_id = "app_generate", params(("id" = String, Path, description = "the session")),
    responses((status = 200, description = "the events from now on", content((String = "text/event-stream"))))
)]
async fn generate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(credential): Extension<Credential>,
    ids: Ids,
    Path(id): Path<SessionId>,
    Json(asked): Json<Prompt>,
) -> Result<Response, Problem> {
    let session = app.sessions.get(&id, caller.sees()).await?;
    let spec = NewJob::of_prompt(asked.prompt).checked(&app.rules)?;
    let after = app.jobs.log().head(&id).await?.seq;
    enqueue(&app, &session, spec, &ids).await?;
    follow(&app, caller, credential, session.id, after).await
}

/// Follow the agents of a session from a time on: the answer is a flat event stream.
#[utoipa::path(
    get, path = "/api/apps/{id}/agent/stream-continue", tag = "original",
    params(("id" = String, Path, description = "the session"), Since),
    responses((status = 200, description = "the events after this time", content((String = "text/event-stream"))))
)]
async fn go_on(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(credential): Extension<Credential>,
    Path(id): Path<SessionId>,
    Query(since): Query<Since>,
) -> Result<Response, Problem> {
    let session = app.sessions.get(&id, caller.sees()).await?.id;
    let head = app.jobs.log().head(&session).await?;
    let after = last_until(&app, &session, head.seq, since.since_timestamp).await?;
    follow(&app, caller, credential, session, after).await
}

/// A flat stream of the events of a session after number `after`.
async fn follow(
    app: &Arc<App>,
    caller: Caller,
    credential: Credential,
    session: SessionId,
    after: u64,
) -> Result<Response, Problem> {
    let head = app.jobs.log().head(&session).await?;
    let reading = Reading { head, after, limit: None, forever: false, form: FrameForm::Flat };
    stream(app, caller, credential, session, reading)
}

/// The number of the last event that is not after `since`; without a time, of the last one that is no longer kept.
async fn last_until(app: &App, session: &SessionId, newest: u64, since: Option<f64>) -> Result<u64, Problem> {
    let log = app.jobs.log();
    let oldest = log.page(session, 0, 1).await?.first().map_or(newest + 1, |event| event.seq);
    let (mut low, mut high) = (oldest.saturating_sub(1), newest);
    let Some(since) = since else { return Ok(low) };
    // numbers and times grow together
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let event = log.page(session, middle - 1, 1).await?;
        if event.first().is_some_and(|event| seconds(event.at) <= since) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

/// Cancel the jobs of a session.
#[utoipa::path(
    post, path = "/api/apps/{id}/agent/stop", tag = "original",
    params(("id" = String, Path, description = "the session")),
    responses((status = 200, description = "they are being cancelled", body = Stopped))
)]
async fn stop(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> Result<axum::Json<Stopped>, Problem> {
    let session = app.sessions.get(&id, caller.sees()).await?.id;
    let filter = JobFilter { session: Some(session.clone()), limit: MAX_JOBS, ..JobFilter::default() };
    let scheduler = &app.scheduling()?.scheduler;
    for job in app.jobs.jobs(filter).await?.into_iter().filter(|job| !job.state.has_ended()) {
        // a job that has ended meanwhile is what is wanted
        scheduler.cancel(job.id).await.ok();
    }
    let mut changes = app.jobs.log().subscribe(&session);
    let ended = async {
        while app.jobs.log().head(&session).await?.live_jobs > 0 {
            changes.changed().await.ok();
        }
        Ok::<_, Problem>(())
    };
    let exited = matches!(timeout(STOP_TIMEOUT, ended).await, Ok(Ok(())));
    Ok(axum::Json(Stopped { success: true, exited }))
}

/// The newest messages of a session, oldest first.
#[utoipa::path(
    get, path = "/api/apps/{id}/agent/history", tag = "original",
    params(("id" = String, Path, description = "the session"), Newest),
    responses((status = 200, description = "the messages", body = History))
)]
async fn history(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(newest): Query<Newest>,
) -> Result<axum::Json<History>, Problem> {
    let session = app.sessions.get(&id, caller.sees()).await?.id;
    let limit = limit(newest.limit, 100, 1000)?;
    let page = MessagePage { after: 0, before: u64::MAX, is_newest_first: true, limit };
    let mut messages: Vec<_> =
        app.sessions.messages(&session, page).await?.iter().filter_map(OriginalMessage::of).collect();
    messages.reverse();
    Ok(axum::Json(History { messages }))
}

/// A job of a session.
#[utoipa::path(
    get, path = "/api/apps/{id}/agent/tasks/{task}", tag = "original",
    params(("id" = String, Path, description = "the session"), ("task" = uuid::Uuid, Path, description = "the job")),
    responses((status = 200, description = "the job", body = Task))
)]
async fn task(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, task)): Path<(SessionId, JobId)>,
) -> Result<axum::Json<Task>, Problem> {
    let job = find(&app, &caller, task).await?;
    if job.session != id {
        return Err(Problem::not_found("job"));
    }
    Ok(axum::Json(Task { id: job.id, status: job.state.name().as_str(), error: job.error }))
}

impl OriginalMessage {
    fn of(event: &Event) -> Option<Self> {
        let message = message_of(event)?;
        Some(Self {
            message_id: format!("{}-{}", event.session, event.seq),
            session_id: event.session.to_string(),
            agent_name: message.agent,
            role: message.role,
            content: message.content,
            tool_calls: json!(message.tool_calls),
            tool_call_id: message.tool_call_id,
            send_to: [],
            timestamp: seconds(message.at),
            metadata: message.metadata,
        })
    }
}
