//! Answers in the original's shapes: a list is an array, a time is a number of seconds.

use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use mgx_protocol::MessageRole;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::sessions::SessionView;

/// Marks a request that came to [`super::PREFIX`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginalShape;

/// A session, as the original has it.
#[derive(Debug, Serialize)]
struct OriginalSession {
    session_id: String,
    name: String,
    framework: &'static str,
    workspace_id: String,
    /// Where the workspace is in the containers of its jobs.
    workspace_path: &'static str,
    creator: String,
    created_at: f64,
    updated_at: f64,
    is_running: bool,
}

/// A message, as the original has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OriginalMessage {
    pub(super) message_id: String,
    pub(super) session_id: String,
    pub(super) agent_name: Option<String>,
    /// `user`, `assistant`, `tool` or `system`.
    #[schema(value_type = String)]
    pub(super) role: MessageRole,
    pub(super) content: String,
    #[schema(value_type = Vec<Object>)]
    pub(super) tool_calls: Value,
    pub(super) tool_call_id: Option<String>,
    pub(super) send_to: [String; 0],
    /// Seconds since 1970.
    pub(super) timestamp: f64,
    #[schema(value_type = Object)]
    pub(super) metadata: Map<String, Value>,
}

/// A session, in the shape that the request asks for.
pub(crate) fn session_or_view(shape: Option<OriginalShape>, view: SessionView) -> Response {
    match shape {
        Some(OriginalShape) => axum::Json(OriginalSession::of(view)).into_response(),
        None => axum::Json(view).into_response(),
    }
}

/// Sessions as an array.
pub(crate) fn session_list(sessions: Vec<SessionView>) -> Response {
    let sessions: Vec<_> = sessions.into_iter().map(OriginalSession::of).collect();
    axum::Json(sessions).into_response()
}

/// The seconds since 1970.
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

impl OriginalSession {
    fn of(view: SessionView) -> Self {
        let SessionView {
            session_id,
            name,
            framework,
            workspace_id,
            user,
            created_at,
            is_running,
            usage: _,
            job: _,
        } = view;
        Self {
            session_id: session_id.to_string(),
            name,
            framework,
            workspace_id: workspace_id.to_string(),
            workspace_path: mgx_protocol::WORKSPACE_DIR,
            creator: user,
            created_at: seconds(created_at),
            updated_at: seconds(created_at),
            is_running,
        }
    }
}
