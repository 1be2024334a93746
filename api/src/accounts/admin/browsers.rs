//! `/api/admin/users/{name}/browsers`: where a user is signed in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mgx_oauth2::{BrowserSession, SessionId, Username};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::user;
use crate::auth::Caller;
use crate::http::Problem;
use crate::http::extract::Path;
use crate::state::App;

/// How many are shown.
const MOST: usize = 200;

/// A browser in which a user is signed in.
#[derive(Serialize, ToSchema)]
pub(crate) struct BrowserView {
    /// Its id.
    id: Uuid,
    /// Whether it is a session of the platform's pages, which ends together with the sign-in at the provider.
    pages: bool,
    /// Its `User-Agent`.
    agent: String,
    /// When the user last entered a password there.
    signed_in_at: Timestamp,
    /// When the sign-in expires.
    expires_at: Timestamp,
}

/// The browsers of a user, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct BrowserList {
    browsers: Vec<BrowserView>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list_browsers)).routes(routes!(end_browser))
}

/// Where a user is signed in, newest first, at most 200.
#[utoipa::path(
    get, path = "/api/admin/users/{name}/browsers", tag = "accounts",
    params(("name" = String, Path, description = "the user's name")),
    responses((status = 200, description = "the browsers", body = BrowserList))
)]
async fn list_browsers(
    State(app): State<Arc<App>>,
    Path(name): Path<Username>,
) -> Result<axum::Json<BrowserList>, Problem> {
    let user = user(&app, &name).await?;
    let browsers = app.gate.provider().sessions_of(user.id, MOST).await?;
    Ok(axum::Json(BrowserList { browsers: browsers.into_iter().map(BrowserView::of).collect() }))
}

/// Sign a user out in one browser, and revoke what the user allowed there.
#[utoipa::path(
    delete, path = "/api/admin/users/{name}/browsers/{id}", tag = "accounts",
    params(("name" = String, Path, description = "the user's name"),
        ("id" = Uuid, Path, description = "the browser")),
    responses((status = 204, description = "signed out"))
)]
async fn end_browser(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((name, id)): Path<(Username, Uuid)>,
) -> Result<StatusCode, Problem> {
    let user = user(&app, &name).await?;
    if app.gate.administration(&caller).end_session(user.id, SessionId(id)).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("browser"))
}

impl BrowserView {
    fn of(session: BrowserSession) -> Self {
        let BrowserSession { id, cookie: _, parent, user: _, auth_time, expires_at, agent } = session;
        Self { id: id.0, pages: parent.is_some(), agent, signed_in_at: auth_time, expires_at }
    }
}
