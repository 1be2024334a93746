//! `/api/sessions/{id}/events`: the session's log, as an event stream or as a page of JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mgx_protocol::SessionId;
use mgx_scheduler::{Event, Head};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::auth::credential::Credential;
use crate::auth::stream_access::StreamAccess;
use crate::events::block::FrameForm;
use crate::events::event_id::last_event_id;
use crate::events::event_view::{EventView, FrameView};
use crate::events::follow::Follower;
use crate::http::accept::preference;
use crate::http::extract::{Path, Query, limit};
use crate::http::problem::FieldError;
use crate::http::{Problem, Slug};
use crate::state::App;

/// The query: which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only events after this number; the `Last-Event-ID` header takes precedence.
    after: Option<String>,
    /// At most so many: 1 to 1000 on a page of JSON (100 by default); a stream ends after so many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Whether the stream goes on waiting when every job has ended.
    #[serde(default)]
    #[param(required = false)]
    follow: bool,
    /// The form of a stream: `nested` (the default), or `flat` for clients of the original platform.
    #[serde(default)]
    #[param(required = false, inline)]
    format: FrameForm,
}

/// A page of events, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventPage<'a> {
    /// The events.
    events: Vec<EventView<'a>>,
    /// The `after` of the next page.
    next: u64,
}

/// The form of the answer.
enum Form {
    Stream,
    Page,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(events))
}

/// The events of a session, from the first one (or after the given one) on, and new ones as they happen.
///
/// A stream (`text/event-stream`) replays what is stored and goes on live; it ends after the last event once every
/// job has ended, unless `follow=true`. With `Accept: application/json` the answer is one page.
#[utoipa::path(
    get, path = "/api/sessions/{id}/events", tag = "events",
    params(("id" = String, Path, description = "the session"), EventQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "the number of the last event the reader has")),
    responses(
        (status = 200, description = "`id:` the number, `event:` the type, `data:` one line of JSON",
            content((FrameView = "text/event-stream"), (EventPage = "application/json"))),
        (status = 204, description = "every job has ended, and nothing came after the given event"),
        (status = 409, description = "`event-id-ahead`: no event has this number yet"),
        (status = 410, description = "`events-trimmed`: the events after the given one are kept no longer; `oldest` \
            is the number of the first that is"))
)]
async fn events(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(credential): Extension<Credential>,
    method: Method,
    headers: HeaderMap,
    Path(id): Path<SessionId>,
    Query(query): Query<EventQuery>,
) -> Result<Response, Problem> {
    let form = Form::of(&headers)?;
    let given = last_event_id(&headers, query.after.as_deref())?;
    let session = app.sessions.get(&id, caller.sees()).await?.id;
    let head = app.jobs.log().head(&session).await?;
    let after = first_after(&app, &session, given, head).await?;
    match form {
        Form::Page if query.format == FrameForm::Flat => {
            let detail = "flat is a form of the stream: accept text/event-stream";
            Err(Problem::validation(vec![FieldError::parameter("format", detail)]))
        }
        Form::Page => page(&app, &session, after, limit(query.limit, 100, 1000)?).await,
        Form::Stream if given == Some(head.seq) && head.has_finished() && !query.follow => {
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Form::Stream if method == Method::HEAD => Ok(stream_head(Body::empty())),
        Form::Stream => {
            let limit = query.limit.map(|given| limit(Some(given), 0, 1000)).transpose()?;
            let reading = Reading { head, after, limit, forever: query.follow, form: query.format };
            stream(&app, caller, credential, session, reading)
        }
    }
}

/// What a stream reads.
pub(super) struct Reading {
    /// Where the log stood when it was asked for.
    pub(super) head: Head,
    /// Only events after this number.
    pub(super) after: u64,
    /// At most so many.
    pub(super) limit: Option<usize>,
    /// Whether it waits for further jobs when every job has ended.
    pub(super) forever: bool,
    /// The form of its frames.
    pub(super) form: FrameForm,
}

/// The answer that is a stream of a session's events.
pub(super) fn stream(
    app: &App,
    caller: Caller,
    credential: Credential,
    session: SessionId,
    Reading { head, after, limit, forever, form }: Reading,
) -> Result<Response, Problem> {
    let follower = Follower {
        open: app.streams.open(&session, caller.user(), app.jobs.log(), head, form)?,
        log: app.jobs.log().clone(),
        form,
        after,
        limit,
        forever,
        closing: app.closing.clone(),
        access: StreamAccess { gate: app.gate.clone(), credential, caller },
        session,
    };
    Ok(stream_head(Body::from_stream(follower.stream())))
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let stream = preference(headers, "text/event-stream");
        let page = preference(headers, "application/json");
        match stream.max(page) {
            0 => {
                Err(Problem::new(Slug::NotAcceptable, "the events are text/event-stream or application/json"))
            }
            best if best == stream => Ok(Self::Stream),
            _ => Ok(Self::Page),
        }
    }
}

fn not_ahead(given: Option<u64>, head: Head) -> Result<u64, Problem> {
    match given.unwrap_or(0) {
        ahead if ahead > head.seq => {
            Err(Problem::new(Slug::EventIdAhead, format!("the newest event is number {}", head.seq)))
        }
        after => Ok(after),
    }
}

/// The number after which the answer begins. A reader without an event begins with the oldest that is kept.
async fn first_after(app: &App, session: &SessionId, given: Option<u64>, head: Head) -> Result<u64, Problem> {
    let after = not_ahead(given, head)?;
    if after == head.seq {
        return Ok(after);
    }
    let next = app.jobs.log().page(session, after, 1).await?;
    match next.first().map(|event| event.seq) {
        Some(oldest) if oldest > after + 1 => match given {
            Some(_) => Err(Problem::new(
                Slug::EventsTrimmed,
                format!("the events before number {oldest} are no longer kept"),
            )
            .oldest(oldest)),
            None => Ok(oldest - 1),
        },
        Some(_) | None => Ok(after),
    }
}

async fn page(app: &App, session: &SessionId, after: u64, limit: usize) -> Result<Response, Problem> {
    let events: Vec<Event> = app.jobs.log().page(session, after, limit).await?;
    let next = events.last().map_or(after, |event| event.seq);
    Ok(axum::Json(EventPage { events: events.iter().map(EventView::new).collect(), next }).into_response())
}

/// The response of a stream, with headers that keep caches from storing it and proxies from buffering it.
fn stream_head(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        (header::CACHE_CONTROL.as_str(), "no-cache"),
        ("x-accel-buffering", "no"),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: Option<&'static str>) -> &'static str {
        let headers = accept.map(|accept| (header::ACCEPT, accept.parse().unwrap())).into_iter().collect();
        match Form::of(&headers) {
            Ok(Form::Stream) => "stream",
            Ok(Form::Page) => "page",
            Err(problem) => problem.slug().as_str(),
        }
    }

    #[test]
    fn a_stream_unless_only_json_is_wanted() {
        assert_eq!(form(None), "stream");
        assert_eq!(form(Some("*/*")), "stream");
        assert_eq!(form(Some("text/event-stream")), "stream");
        assert_eq!(form(Some("application/json")), "page");
        assert_eq!(form(Some("application/json, text/event-stream;q=0.5")), "page");
        assert_eq!(form(Some("text/html")), "not-acceptable");
    }

    #[test]
    fn an_id_ahead_of_the_log_is_refused() {
        let head = Head { seq: 5, live_jobs: 0 };
        assert_eq!(not_ahead(None, head).unwrap(), 0);
        assert_eq!(not_ahead(Some(5), head).unwrap(), 5);
        assert_eq!(not_ahead(Some(6), head).unwrap_err().slug(), Slug::EventIdAhead);
    }
}
