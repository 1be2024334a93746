//! `/api/sessions/{id}/export`: a session, its jobs and its events, without its files, as lines of JSON.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use mgx_apps::{MessagePage, Session, Sessions};
use mgx_protocol::{JobId, SessionId};
use mgx_scheduler::{JobFilter, JobReader, JournalError};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::export_line::{Line, MEDIA_TYPE, VERSION};
use crate::auth::Caller;
use crate::http::Problem;
use crate::http::extract::Path;
use crate::state::App;

/// How many jobs, and how many events, are read at a time.
const JOBS_PER_PAGE: usize = 50;
const EVENTS_PER_PAGE: usize = 256;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(export))
}

/// A session with its jobs and events, but without its files, as one file.
///
/// Lines of JSON (`application/jsonl`), each an object with one key: `mgx_export` (the version), `session`, `job` for
/// each job, `message` for each message whose event is kept no longer, `event` for each event in order, and `end` with the numbers of both. The values of environment variables are
/// hidden. Events that happen after the request came are not in the file.
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
    let last = app.jobs.log().head(&id).await?.seq;
    let name = format!("attachment; filename=\"{id}.jsonl\"");
    let name = HeaderValue::from_str(&name).expect("an id is plain");
    let body = Body::from_stream(lines(app.jobs.clone(), app.sessions.clone(), session, last));
    let head =
        [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)), (header::CONTENT_DISPOSITION, name)];
    Ok((head, body).into_response())
}

/// The next lines of the export.
enum Step {
    Begin(Box<Session>),
    /// Jobs before this one, newest first.
    Jobs(Option<JobId>),
    /// Messages after this number whose events are kept no longer.
    Messages(u64),
    /// Events after this number.
    Events(u64),
    Done,
}

/// Counts what has been written.
#[derive(Clone, Copy, Default)]
struct Written {
    jobs: u64,
    events: u64,
}

fn lines(
    jobs: JobReader,
    sessions: Sessions,
    session: Session,
    last: u64,
) -> impl Stream<Item = Result<Bytes, JournalError>> + Send {
    let id = session.id.clone();
    let begin = (Step::Begin(Box::new(session)), Written::default());
    stream::try_unfold(begin, move |(step, mut written)| {
        let (reader, sessions, id) = (jobs.clone(), sessions.clone(), id.clone());
        async move {
            let (lines, next) = match step {
                Step::Begin(session) => {
                    let first = Line::MgxExport { version: VERSION, at: Timestamp::now() };
                    (vec![first, Line::of_session(*session)], Step::Jobs(None))
                }
                Step::Jobs(before) => {
                    let filter =
                        JobFilter { session: Some(id), before, limit: JOBS_PER_PAGE, ..JobFilter::default() };
                    let jobs = reader.jobs(filter).await?;
                    written.jobs += jobs.len() as u64;
                    let next = jobs.last().map_or(Step::Messages(0), |job| Step::Jobs(Some(job.id)));
                    (jobs.into_iter().map(Line::of_job).collect(), next)
                }
                Step::Messages(after) => {
                    let oldest =
                        reader.log().page(&id, 0, 1).await?.first().map_or(last + 1, |event| event.seq);
                    let page =
                        MessagePage { after, before: oldest, is_newest_first: false, limit: EVENTS_PER_PAGE };
                    let messages = sessions
                        .messages(&id, page)
                        .await
                        .map_err(|error| JournalError::Unavailable(error.to_string()))?;
                    let next = messages.last().map_or(Step::Events(0), |message| Step::Messages(message.seq));
                    (messages.into_iter().map(Line::of_message).collect(), next)
                }
                Step::Events(after) => {
                    let mut events = reader.log().page(&id, after, EVENTS_PER_PAGE).await?;
                    events.retain(|event| event.seq <= last);
                    written.events += events.len() as u64;
                    if let Some(seq) = events.last().map(|event| event.seq) {
                        (events.into_iter().map(Line::of_event).collect(), Step::Events(seq))
                    } else {
                        let Written { jobs, events } = written;
                        (vec![Line::End { jobs, events }], Step::Done)
                    }
                }
                Step::Done => return Ok(None),
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
