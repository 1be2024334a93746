//! `/api/sessions`: create, read, list and delete sessions.

mod events;
mod export;
mod export_line;
mod generate;
mod import;
mod import_check;
#[cfg(test)]
mod import_tests;
mod messages;
pub(crate) mod original;

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use mgx_apps::{Framework, NewSession, Opened, Session, SessionError, StoreError, Usage};
use mgx_protocol::{SessionId, WorkspaceId};
use mgx_scheduler::{JobSpec, JournalError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::original::{OriginalShape, session_list, session_or_view};
use crate::auth::Caller;
use crate::http::extract::{Json, Path, Query, cut, limit};
use crate::http::ids::Ids;
use crate::http::{Problem, Slug};
use crate::jobs::{JobView, NewJob, enqueue};
use crate::state::App;

/// The longest name of a session, in characters.
pub(crate) const MAX_NAME: usize = 200;

/// The framework of a session that does not name one, as in the original API.
pub(crate) const DEFAULT_FRAMEWORK: Framework = Framework::FastapiVite;

/// A session to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionRequest {
    /// Its id: 1 to 64 of `A-Z a-z 0-9 _ -`; one is made if absent.
    #[schema(value_type = Option<String>, example = "demo")]
    session_id: Option<SessionId>,
    /// Its name, for people; the first line of the prompt if absent.
    name: Option<String>,
    /// `nextjs` or `fastapi-vite` (the default).
    #[schema(value_type = Option<String>, example = "nextjs")]
    framework: Option<Framework>,
    /// Its workspace; one of its own if absent.
    #[schema(value_type = Option<String>)]
    workspace_id: Option<WorkspaceId>,
    /// What the agents are to do first: submits the first job together with the session.
    prompt: Option<String>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// Its id.
    #[schema(value_type = String)]
    session_id: SessionId,
    /// Its name, for people.
    name: String,
    /// The framework of its app.
    framework: &'static str,
    /// Its workspace.
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    /// The user that owns it.
    user: String,
    /// When it was created.
    created_at: Timestamp,
    /// Whether one of its jobs waits or runs.
    is_running: bool,
    /// What its agents have used of the models so far.
    usage: UsageView,
    /// Its first job, if a prompt came along.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobView>,
}

/// The use of the models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageView {
    /// Requests to a model.
    requests: u64,
    /// Tokens sent to the models.
    prompt_tokens: u64,
    /// Tokens that the models answered with.
    completion_tokens: u64,
    /// What they cost, in millionths of the unit that the operator writes prices in; 0 without prices.
    cost_micros: u64,
}

/// A page of sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionPage {
    sessions: Vec<SessionView>,
    /// The `cursor` of the next page, if there is one.
    #[schema(value_type = Option<String>)]
    next: Option<SessionId>,
}

/// The query: which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionQuery {
    /// Only older than this session: `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<SessionId>,
    /// At most so many: 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

/// The routes that answer in JSON.
pub(crate) fn json_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(look, delete))
        .merge(generate::routes())
        .merge(messages::routes())
        .merge(import::routes())
        .merge(original::json_routes())
}

/// The routes that answer with an event stream or a file.
pub(crate) fn raw_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().merge(events::routes()).merge(export::routes()).merge(original::raw_routes())
}

/// Create a session and its workspace. The same request again finds the session of the first one.
#[utoipa::path(
    post, path = "/api/sessions", tag = "sessions", request_body = SessionRequest,
    responses(
        (status = 201, description = "created; `Location` leads to it", body = SessionView,
            headers(("location" = String, description = "the session"))),
        (status = 200, description = "it existed already", body = SessionView))
)]
async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    ids: Ids,
    shape: Option<Extension<OriginalShape>>,
    Json(asked): Json<SessionRequest>,
) -> Result<Response, Problem> {
    let first =
        asked.prompt.clone().map(|prompt| NewJob::of_prompt(prompt).checked(&app.rules)).transpose()?;
    let new = asked.checked(&caller, &ids)?;
    let (Opened { session, created }, job) = open(&app, &caller, new, first, &ids).await?;
    // made by an earlier request with the same key, which was not answered
    let created = created || ids.resumed().is_some_and(|since| session.created_at >= since);
    let location = format!("/api/sessions/{}", session.id);
    let view = SessionView { job, ..view(&app, session).await? };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let body = session_or_view(shape.map(|Extension(shape)| shape), view);
    Ok((status, [(header::LOCATION, location)], body).into_response())
}

/// Sessions, newest first.
#[utoipa::path(
    get, path = "/api/sessions", tag = "sessions", params(SessionQuery),
    responses((status = 200, description = "a page of sessions", body = SessionPage))
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    shape: Option<Extension<OriginalShape>>,
    Query(query): Query<SessionQuery>,
) -> Result<Response, Problem> {
    let limit = limit(query.limit, if shape.is_some() { 200 } else { 50 }, 200)?;
    let mut found = app.sessions.list(caller.sees(), query.cursor.as_ref(), limit + 1).await?;
    let next = cut(&mut found, limit, |session| session.id.clone());
    let mut sessions = Vec::with_capacity(found.len());
    for session in found {
        sessions.push(view(&app, session).await?);
    }
    Ok(match shape {
        Some(_) => session_list(sessions),
        None => axum::Json(SessionPage { sessions, next }).into_response(),
    })
}

/// The session with this id.
#[utoipa::path(
    get, path = "/api/sessions/{id}", tag = "sessions",
    params(("id" = String, Path, description = "the session")),
    responses((status = 200, description = "the session", body = SessionView))
)]
async fn look(
    State(app): State<Arc<App>>,
    caller: Caller,
    shape: Option<Extension<OriginalShape>>,
    Path(id): Path<SessionId>,
) -> Result<Response, Problem> {
    let session = app.sessions.get(&id, caller.sees()).await?;
    Ok(session_or_view(shape.map(|Extension(shape)| shape), view(&app, session).await?))
}

/// Delete a session, its jobs, its events and its workspace. Cancel its jobs first.
#[utoipa::path(
    delete, path = "/api/sessions/{id}", tag = "sessions",
    params(("id" = String, Path, description = "the session")),
    responses((status = 204, description = "it is gone"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    let session = app.sessions.get(&id, caller.sees()).await?;
    let live = app.jobs.log().head(&session.id).await?.live_jobs;
    if live > 0 {
        return Err(Problem::new(
            Slug::Conflict,
            format!("{live} of its jobs have not ended: cancel them first"),
        ));
    }
    app.sessions.delete(&session.id, caller.sees()).await?;
    app.app_clients().remove(&session).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates or finds a session, and submits its first job. A refused job leaves no new session behind.
pub(crate) async fn open(
    app: &App,
    caller: &Caller,
    new: NewSession,
    first: Option<JobSpec>,
    ids: &Ids,
) -> Result<(Opened, Option<JobView>), Problem> {
    let opened = app.sessions.create(new).await?;
    let Some(spec) = first else {
        app.app_clients().register_if_possible(&opened.session).await;
        return Ok((opened, None));
    };
    // the first job does not need the app
    let ((), job) = tokio::join!(
        app.app_clients().register_if_possible(&opened.session),
        enqueue(app, &opened.session, spec, ids)
    );
    match job {
        Ok(job) => Ok((opened, Some(job))),
        Err(problem) => {
            if opened.created {
                app.app_clients().remove(&opened.session).await;
            }
            if opened.created && app.sessions.delete(&opened.session.id, caller.sees()).await.is_err() {
                tracing::warn!(session = %opened.session.id, "an empty session stays behind a refused request");
            }
            Err(problem)
        }
    }
}

impl SessionRequest {
    fn checked(self, caller: &Caller, ids: &Ids) -> Result<NewSession, Problem> {
        let name = self.name.unwrap_or_else(|| title(self.prompt.as_deref().unwrap_or_default()));
        if name.chars().count() > MAX_NAME || name.contains(char::is_control) {
            return Err(Problem::invalid("/name", format!("at most {MAX_NAME} characters on one line")));
        }
        Ok(NewSession {
            id: self.session_id.or_else(|| ids.session()),
            name,
            framework: self.framework.unwrap_or(DEFAULT_FRAMEWORK),
            user: caller.user().to_owned(),
            workspace: self.workspace_id,
        })
    }
}

/// The first line of a prompt, as the name of its session.
pub(crate) fn title(prompt: &str) -> String {
    let line = prompt.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("untitled");
    line.chars().filter(|c| !c.is_control()).take(60).collect()
}

pub(crate) async fn view(app: &App, session: Session) -> Result<SessionView, JournalError> {
    let head = app.jobs.log().head(&session.id).await?;
    let Usage { requests, prompt_tokens, completion_tokens, cost_micros } = session.usage;
    Ok(SessionView {
        session_id: session.id,
        name: session.name,
        framework: session.framework.name(),
        workspace_id: session.workspace,
        user: session.user,
        created_at: session.created_at,
        is_running: head.live_jobs > 0,
        usage: UsageView { requests, prompt_tokens, completion_tokens, cost_micros },
        job: None,
    })
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound => Self::not_found("session"),
            SessionError::Conflict | SessionError::Store(StoreError::Conflict) => Self::new(
                Slug::Conflict,
                "a session or workspace of this id exists already, and is another one",
            ),
            SessionError::Store(StoreError::Full) => JournalError::Full.into(),
            SessionError::Store(StoreError::Unavailable(cause)) => JournalError::Unavailable(cause).into(),
            SessionError::Workspace(cause) => {
                tracing::error!(%cause, "a workspace cannot be made or removed");
                Self::new(Slug::Internal, "the workspace could not be made or removed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_after_its_prompt() {
        assert_eq!(title("\n  build a todo list \nwith colours"), "build a todo list");
        assert_eq!(title(" \n"), "untitled");
        assert_eq!(title(&"ü".repeat(100)).chars().count(), 60);
    }
}
