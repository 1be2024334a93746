//! `/api/sessions/{id}/export`: all there is of a session but its files, as lines of JSON.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use mgx_apps::Session;
use mgx_protocol::{JobId, SessionId};
use mgx_scheduler::{JobFilter, JournalError, Scheduler};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::export_line::{Line, MEDIA_TYPE, VERSION};
use crate::auth::Caller;
use crate::http::Problem;
use crate::http::extract::Path;
use crate::state::App;

/// How many jobs, and how many events, are read at a time.
const JOBS: usize = 50;
const EVENTS: usize = 256;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(export))
}

/// All there is of a session but its files: a report of what happened, in one file.
///
/// Lines of JSON (`application/jsonl`), each an object with one key: `mgx_export` (the version), `session`, `job` for
/// each job, `event` for each event in order, and `end` with their numbers. The values of jobs' environments are hidden.
/// Of a session that still works, it is all there was when the request came.
#[utoipa::path(
    get, path = "/api/sessions/{id}/export", tag = "sessions",
    params(("id" = String, Path, description = "the session", example = "bakery")),
    responses((status = 200, description = "the lines", content((String = "application/jsonl",
        example = "{\"mgx_export\":{\"version\":1,\"at\":\"2026-01-02T03:04:05Z\"}}\n"))))
)]
async fn export(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> Result<Response, Problem> {
    let session = app.sessions.get(&id, caller.sees()).await?;
    // the head before the jobs: every event up to it is of a job that is listed
    let last = app.scheduler.log().head(&id).await?.seq;
    let name = format!("attachment; filename=\"{id}.jsonl\"");
    let name = HeaderValue::from_str(&name).expect("an id is plain");
    let body = Body::from_stream(lines(app.scheduler.clone(), session, last));
    let head =
        [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)), (header::CONTENT_DISPOSITION, name)];
    Ok((head, body).into_response())
}

/// Where the export has come to.
enum At {
    Begin(Box<Session>),
    /// Jobs before this one, newest first.
    Jobs(Option<JobId>),
    /// Events after this number.
    Events(u64),
    Over,
}

/// Counts what has been written.
#[derive(Clone, Copy, Default)]
struct Written {
    jobs: u64,
    events: u64,
}

fn lines(
    scheduler: Scheduler,
    session: Session,
    last: u64,
) -> impl Stream<Item = Result<Bytes, JournalError>> + Send {
    let id = session.id.clone();
    let begin = (At::Begin(Box::new(session)), Written::default());
    stream::try_unfold(begin, move |(at, mut written)| {
        let (scheduler, id) = (scheduler.clone(), id.clone());
        async move {
            let (lines, next) = match at {
                At::Begin(session) => {
                    let first = Line::MgxExport { version: VERSION, at: Timestamp::now() };
                    (vec![first, Line::of_session(*session)], At::Jobs(None))
                }
                At::Jobs(before) => {
                    let filter = JobFilter { session: Some(id), before, limit: JOBS, ..JobFilter::default() };
                    let jobs = scheduler.jobs(filter).await?;
                    written.jobs += jobs.len() as u64;
                    let next = jobs.last().map_or(At::Events(0), |job| At::Jobs(Some(job.id)));
                    (jobs.into_iter().map(Line::of_job).collect(), next)
                }
                At::Events(after) => {
                    let mut events = scheduler.log().page(&id, after, EVENTS).await?;
                    events.retain(|event| event.seq <= last);
                    written.events += events.len() as u64;
                    if let Some(seq) = events.last().map(|event| event.seq) {
                        (events.into_iter().map(Line::of_event).collect(), At::Events(seq))
                    } else {
                        let Written { jobs, events } = written;
                        (vec![Line::End { jobs, events }], At::Over)
                    }
                }
                At::Over => return Ok(None),
            };
            Ok(Some((encode(&lines), (next, written))))
        }
    })
}

fn encode(lines: &[Line]) -> Bytes {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line).expect("plain data always makes JSON");
        bytes.push(b'\n');
    }
    bytes.into()
}
