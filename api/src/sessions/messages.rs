//! `/api/sessions/{id}/messages`: the conversation of a session.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use mgx_apps::{MessagePage, message_of};
use mgx_protocol::{JobId, Message, MessageRole, MessageToolCall, SessionId};
use mgx_scheduler::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::http::Problem;
use crate::http::extract::{Path, Query, event_number, limit};
use crate::state::App;

/// The query: which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MessageQuery {
    /// Only messages after this event number.
    #[serde(default)]
    #[param(required = false)]
    after: u64,
    /// Only messages before this event number.
    before: Option<u64>,
    /// Whether the newest messages come first.
    #[serde(default)]
    #[param(required = false)]
    newest_first: bool,
    /// At most so many: 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<usize>,
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessagesView {
    /// The messages.
    messages: Vec<MessageView>,
    /// The `after` of the next page (with `newest_first`, its `before`); absent on an empty page, which is the end.
    next: Option<u64>,
}

/// A message of the conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageView {
    /// Its id: the session and the number of its event.
    message_id: String,
    /// The session.
    #[schema(value_type = String)]
    session_id: SessionId,
    /// The number of its event.
    seq: u64,
    /// The job that it belongs to.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// When it was stored.
    timestamp: Timestamp,
    /// Who wrote it: `user`, `assistant`, `tool`, or `system` for a summary of older messages.
    #[schema(value_type = String)]
    role: MessageRole,
    /// The role of the team that wrote it, or whose tool call it answers.
    agent_name: Option<String>,
    /// Its text.
    content: String,
    /// The tool calls that it makes: `type`, `id`, `name`, `args`.
    #[schema(value_type = Vec<Object>)]
    tool_calls: Vec<MessageToolCall>,
    /// The tool call that it is the result of.
    tool_call_id: Option<String>,
    /// What else its writer keeps with it: `final` for the last message of a role, `reasoning`, `finish` …
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(messages))
}

/// The messages of a session, oldest first. They stay when old events are removed.
#[utoipa::path(
    get, path = "/api/sessions/{id}/messages", tag = "sessions",
    params(("id" = String, Path, description = "the session"), MessageQuery),
    responses((status = 200, description = "a page of messages", body = MessagesView))
)]
async fn messages(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<MessageQuery>,
) -> Result<axum::Json<MessagesView>, Problem> {
    let session = app.sessions.get(&id, caller.sees()).await?.id;
    let page = MessagePage {
        after: event_number("after", query.after)?,
        before: query.before.map(|before| event_number("before", before)).transpose()?.unwrap_or(u64::MAX),
        is_newest_first: query.newest_first,
        limit: limit(query.limit, 100, 500)?,
    };
    let events = app.sessions.messages(&session, page).await?;
    let next = events.last().map(|event| event.seq);
    Ok(axum::Json(MessagesView { messages: events.iter().filter_map(MessageView::of).collect(), next }))
}

impl MessageView {
    fn of(event: &Event) -> Option<Self> {
        let Message { job, at, role, agent, content, tool_calls, tool_call_id, metadata } =
            message_of(event)?;
        Some(Self {
            message_id: format!("{}-{}", event.session, event.seq),
            session_id: event.session.clone(),
            seq: event.seq,
            job_id: job,
            timestamp: at,
            role,
            agent_name: agent,
            content,
            tool_calls,
            tool_call_id,
            metadata,
        })
    }
}
