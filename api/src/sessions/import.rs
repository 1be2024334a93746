//! `/api/sessions:import`: a session that was exported, taken in line by line, whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use mgx_apps::ArchivedSession;
use tokio::time::{Instant, timeout_at};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::export_line::MEDIA_TYPE;
use super::import_check::Checker;
use super::{SessionView, view};
use crate::auth::Caller;
use crate::http::extract::too_large;
use crate::http::{Problem, Slug};
use crate::state::App;

/// The longest line and the longest body, in bytes. An import holds the whole session in memory.
const MAX_LINE: usize = 2 * 1024 * 1024;
const MAX_BODY: usize = 64 * 1024 * 1024;

/// How long the whole body of an import may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_mins(5);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(import))
}

/// Import a session that another platform exported, with its jobs and events under their ids and numbers. Its workspace
/// has the starter files.
///
/// The body is the answer of `/api/sessions/{id}/export`. Every line is checked, and nothing is stored if a line is
/// wrong. None of its jobs runs: a job that had not ended counts as failed. The caller owns the imported session.
#[utoipa::path(
    post, path = "/api/sessions:import", tag = "sessions",
    request_body(content((String = "application/jsonl")), description = "the lines of an export"),
    responses(
        (status = 201, description = "imported; `Location` leads to it", body = SessionView,
            headers(("location" = String, description = "the session"))),
        (status = 409, description = "`conflict`: the session, or a job of it, exists already"),
        (status = 413, description = "`body-too-large`: more than 64 MiB"),
        (status = 422, description = "`invalid-export`: the detail names the line, and what is wrong with it"),
        (status = 429, description = "`import-busy`: another session is being imported"))
)]
async fn import(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    require_lines(&headers)?;
    let _permit = app.imports.try_acquire().map_err(|_| {
        Problem::new(Slug::ImportBusy, "another session is being imported")
            .retry_after(Duration::from_secs(5))
    })?;
    let record = read(request.into_body(), Checker::new(caller.user())).await?;
    let session = app.sessions.import(app.imports.archive(), record).await?;
    app.app_clients().register_if_possible(&session).await;
    let location = format!("/api/sessions/{}", session.id);
    let view = view(&app, session).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(view)).into_response())
}

fn require_lines(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if [MEDIA_TYPE, "application/x-ndjson"].iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    Err(Problem::new(Slug::UnsupportedMediaType, "send content-type: application/jsonl"))
}

/// Splits the body into lines, and checks each as it comes.
async fn read(mut body: Body, mut checker: Checker) -> Result<ArchivedSession, Problem> {
    let end = Instant::now() + BODY_TIMEOUT;
    let (mut line, mut total) = (Vec::new(), 0);
    loop {
        let frame = timeout_at(end, body.frame()).await;
        let frame =
            frame.map_err(|_| Problem::new(Slug::RequestTimeout, "the lines did not arrive in time"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Problem::new(Slug::MalformedJson, "the body ended early"))?;
        let data = frame.into_data().unwrap_or_default();
        total += data.len();
        if total > MAX_BODY {
            return Err(too_large(MAX_BODY));
        }
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.len() > MAX_LINE {
                return Err(checker.wrong(&format!("longer than {MAX_LINE} bytes")));
            }
            if line.ends_with(b"\n") {
                checker.take(&line)?;
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        checker.take(&line)?;
    }
    checker.finish()
}
