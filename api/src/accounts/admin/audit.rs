//! `/api/admin/audit`: what happened to accounts and tokens.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use mgx_oauth2::AuditEntry;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::http::extract::{Query, cut, limit};
use crate::http::problem::{FieldError, Problem};
use crate::state::App;

/// One entry of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditView {
    /// Its number.
    number: u64,
    /// When it happened.
    at: Timestamp,
    /// What happened: a word, or an object with that word as its key and details as its value.
    event: Value,
    /// The user that it is about: the `sub` claim of the user's tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Uuid>,
    /// The client that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// The name of the user who made the change through the API or the `mgx` command.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// The IP address that the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
}

/// A page of the audit log, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditPage {
    entries: Vec<AuditView>,
    /// The `cursor` of the next page, if there is one.
    next: Option<u64>,
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only older than this number: `next` of the page before.
    cursor: Option<u64>,
    /// At most so many: 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(audit_log))
}

/// What happened to accounts and tokens, newest first.
#[utoipa::path(
    get, path = "/api/admin/audit", tag = "accounts", params(AuditQuery),
    responses((status = 200, description = "a page of the log", body = AuditPage))
)]
async fn audit_log(
    State(app): State<Arc<App>>,
    Query(query): Query<AuditQuery>,
) -> Result<axum::Json<AuditPage>, Problem> {
    let limit = limit(query.limit, 100, 1000)?;
    if query.cursor.is_some_and(|cursor| i64::try_from(cursor).is_err()) {
        return Err(Problem::validation(vec![FieldError::parameter("cursor", "the number of an entry")]));
    }
    let mut entries = app.gate.provider().audit_log(query.cursor, limit + 1).await?;
    let next = cut(&mut entries, limit, |(number, _)| *number);
    Ok(axum::Json(AuditPage { entries: entries.into_iter().map(AuditView::of).collect(), next }))
}

impl AuditView {
    fn of((number, entry): (u64, AuditEntry)) -> Self {
        let AuditEntry { at, event, user, client, by, peer } = entry;
        let event = serde_json::to_value(event).expect("an event is plain data");
        let (user, client) = (user.map(|user| user.0), client.map(|client| client.to_string()));
        Self { number, at, event, user, client, by, peer: peer.map(|peer| peer.to_string()) }
    }
}
