//! `POST /api/agent/generate`: creates a session if there is none, and submits a job, in one request of the original API.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use mgx_apps::{Framework, NewSession, Session, SessionError};
use mgx_protocol::{SessionId, WorkspaceId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{DEFAULT_FRAMEWORK, open, title};
use crate::auth::Caller;
use crate::http::Problem;
use crate::http::extract::Json;
use crate::http::ids::Ids;
use crate::jobs::{JobView, NewJob, accepted, enqueue};
use crate::state::App;

/// What to generate, and where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generate {
    /// The session; it is created if it does not exist.
    #[schema(value_type = String, example = "test-session")]
    session_id: SessionId,
    /// Its workspace; one of its own if absent.
    #[schema(value_type = Option<String>, example = "test-workspace")]
    workspace_id: Option<WorkspaceId>,
    /// `nextjs` or `fastapi-vite`; if absent, that of the session, and `fastapi-vite` for a new one.
    #[schema(value_type = Option<String>, example = "nextjs")]
    framework: Option<Framework>,
    /// What the agents are to do.
    #[schema(example = "build a todo list")]
    prompt: String,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(generate))
}

/// Let the agents work on a prompt. The session is created if it does not exist; its events tell what happens.
#[utoipa::path(
    post, path = "/api/agent/generate", tag = "jobs", request_body = Generate,
    responses((status = 202, description = "stored; `Location` leads to the job", body = JobView,
        headers(("location" = String, description = "the job"))))
)]
async fn generate(
    State(app): State<Arc<App>>,
    caller: Caller,
    ids: Ids,
    Json(asked): Json<Generate>,
) -> Result<Response, Problem> {
    let spec = NewJob::of_prompt(asked.prompt.clone()).checked(&app.rules)?;
    match app.sessions.get(&asked.session_id, caller.sees()).await {
        Ok(session) if asked.agrees_with(&session) => {
            Ok(accepted(enqueue(&app, &session, spec, &ids).await?))
        }
        Ok(_) => Err(SessionError::Conflict.into()),
        Err(SessionError::NotFound) => {
            let (_, job) = open(&app, &caller, asked.session(&caller), Some(spec), &ids).await?;
            Ok(accepted(job.expect("a job was asked for, so it was accepted or refused")))
        }
        Err(error) => Err(error.into()),
    }
}

impl Generate {
    fn agrees_with(&self, session: &Session) -> bool {
        self.framework.is_none_or(|framework| framework == session.framework)
            && self.workspace_id.as_ref().is_none_or(|workspace| *workspace == session.workspace)
    }

    fn session(self, caller: &Caller) -> NewSession {
        NewSession {
            id: Some(self.session_id),
            name: title(&self.prompt),
            framework: self.framework.unwrap_or(DEFAULT_FRAMEWORK),
            user: caller.user().to_owned(),
            workspace: self.workspace_id,
        }
    }
}
