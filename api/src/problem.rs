//! Every answer that is not a success: RFC 9457 `application/problem+json`, and the one table of statuses.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mgx_scheduler::{JournalError, Rejection};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, as a word that programs branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slug {
    /// The body is not JSON, or not JSON we accept.
    MalformedJson,
    /// `Last-Event-ID` or `after` is not an event number.
    InvalidLastEventId,
    /// A path that cannot be inside a workspace.
    InvalidPath,
    /// No credentials, or wrong ones.
    Unauthorized,
    /// A link leads out of the workspace.
    PathEscape,
    /// There is no such thing, or it is somebody else's.
    NotFound,
    /// The thing is there; the method is not.
    MethodNotAllowed,
    /// Nothing we make is accepted.
    NotAcceptable,
    /// The body did not arrive in time.
    RequestTimeout,
    /// It exists already, or stands in the way.
    Conflict,
    /// The job has ended.
    AlreadyFinished,
    /// An event number that has not been given yet.
    EventIdAhead,
    /// A directory, a pipe, a device.
    NotRegularFile,
    /// The file has changed since.
    EtagMismatch,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The body's content type is not one we read.
    UnsupportedMediaType,
    /// No byte of the file is in the range.
    RangeNotSatisfiable,
    /// JSON, but not what is asked for here.
    Validation,
    /// More than one request may ask for.
    QuotaExceeded,
    /// The line is full.
    QueueFull,
    /// Too many event streams are open.
    TooManyStreams,
    /// Our fault.
    Internal,
    /// The platform is shutting down.
    Draining,
    /// The store does not answer.
    StoreUnavailable,
    /// The store's disk is full.
    StoreFull,
    /// The container engine does not answer.
    RuntimeUnavailable,
    /// The workspace's disk is full.
    WorkspaceFull,
}

/// One row of the table.
struct Row {
    slug: &'static str,
    status: StatusCode,
    title: &'static str,
    retryable: bool,
}

impl Slug {
    /// Every slug, in the order of the table.
    pub const ALL: [Self; 27] = [
        Self::MalformedJson,
        Self::InvalidLastEventId,
        Self::InvalidPath,
        Self::Unauthorized,
        Self::PathEscape,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::Conflict,
        Self::AlreadyFinished,
        Self::EventIdAhead,
        Self::NotRegularFile,
        Self::EtagMismatch,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::RangeNotSatisfiable,
        Self::Validation,
        Self::QuotaExceeded,
        Self::QueueFull,
        Self::TooManyStreams,
        Self::Internal,
        Self::Draining,
        Self::StoreUnavailable,
        Self::StoreFull,
        Self::RuntimeUnavailable,
        Self::WorkspaceFull,
    ];

    /// As it is written: the `code`, and the last part of the `type`.
    pub fn as_str(self) -> &'static str {
        self.row().slug
    }

    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        self.row().status
    }

    /// The table of statuses.
    #[rustfmt::skip]
    fn row(self) -> Row {
        use StatusCode as S;
        let row = |slug, status, title, retryable| Row { slug, status, title, retryable };
        match self {
            Self::MalformedJson => row("malformed-json", S::BAD_REQUEST, "The body is not acceptable JSON", false),
            Self::InvalidLastEventId => row("invalid-last-event-id", S::BAD_REQUEST, "Not an event number", false),
            Self::InvalidPath => row("invalid-path", S::BAD_REQUEST, "Not a path in a workspace", false),
            Self::Unauthorized => row("unauthorized", S::UNAUTHORIZED, "A valid token is needed", false),
            Self::PathEscape => row("path-escape", S::FORBIDDEN, "The path leads out of the workspace", false),
            Self::NotFound => row("not-found", S::NOT_FOUND, "Not found", false),
            Self::MethodNotAllowed => row("method-not-allowed", S::METHOD_NOT_ALLOWED, "Method not allowed", false),
            Self::NotAcceptable => row("not-acceptable", S::NOT_ACCEPTABLE, "Nothing made here is accepted", false),
            Self::RequestTimeout => row("request-timeout", S::REQUEST_TIMEOUT, "The body did not arrive in time", true),
            Self::Conflict => row("conflict", S::CONFLICT, "Conflict", false),
            Self::AlreadyFinished => row("already-finished", S::CONFLICT, "The job has ended", false),
            Self::EventIdAhead => row("event-id-ahead", S::CONFLICT, "No such event yet", false),
            Self::NotRegularFile => row("not-regular-file", S::CONFLICT, "Not a regular file", false),
            Self::EtagMismatch => row("etag-mismatch", S::PRECONDITION_FAILED, "The file has changed", false),
            Self::BodyTooLarge => row("body-too-large", S::PAYLOAD_TOO_LARGE, "The body is too large", false),
            Self::UnsupportedMediaType => row("unsupported-media-type", S::UNSUPPORTED_MEDIA_TYPE, "Unsupported content type", false),
            Self::RangeNotSatisfiable => row("range-not-satisfiable", S::RANGE_NOT_SATISFIABLE, "No byte in this range", false),
            Self::Validation => row("validation", S::UNPROCESSABLE_ENTITY, "The request is not valid", false),
            Self::QuotaExceeded => row("quota-exceeded", S::UNPROCESSABLE_ENTITY, "More than allowed", false),
            Self::QueueFull => row("queue-full", S::TOO_MANY_REQUESTS, "The queue is full", true),
            Self::TooManyStreams => row("too-many-streams", S::TOO_MANY_REQUESTS, "Too many event streams", true),
            Self::Internal => row("internal", S::INTERNAL_SERVER_ERROR, "Internal error", true),
            Self::Draining => row("draining", S::SERVICE_UNAVAILABLE, "Shutting down", true),
            Self::StoreUnavailable => row("store-unavailable", S::SERVICE_UNAVAILABLE, "The store does not answer", true),
            Self::StoreFull => row("store-full", S::SERVICE_UNAVAILABLE, "The store is full", true),
            Self::RuntimeUnavailable => row("runtime-unavailable", S::SERVICE_UNAVAILABLE, "The container engine does not answer", true),
            Self::WorkspaceFull => row("workspace-full", S::INSUFFICIENT_STORAGE, "The workspace is full", false),
        }
    }
}

/// An answer that is not a success.
#[derive(Debug)]
pub struct Problem {
    slug: Slug,
    detail: Cow<'static, str>,
    more: Option<Box<More>>,
}

/// What only some problems have.
#[derive(Debug, Default)]
struct More {
    errors: Vec<FieldError>,
    limit: Option<LimitHit>,
    retry_after: Option<Duration>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where in the body: a JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Which parameter of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// The limit that was hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitHit {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What is in use, or was asked for.
    pub used: u64,
    /// What is allowed.
    pub max: u64,
}

/// The body of a problem.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body<'a> {
    /// `/problems/` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// A short text, the same for every problem of this type.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// The word to branch on.
    code: &'static str,
    /// What went wrong this time.
    #[schema(value_type = String)]
    detail: &'a str,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// Milliseconds to wait before trying again; the `Retry-After` header has it in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// Everything that is wrong with the request.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(value_type = Vec<FieldError>, required = false)]
    errors: &'a [FieldError],
    /// The limit that was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LimitHit>)]
    limit: Option<&'a LimitHit>,
}

impl Problem {
    /// A problem; `detail` is a lower-case fragment without secrets or host paths.
    pub fn new(slug: Slug, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { slug, detail: detail.into(), more: None }
    }

    /// There is no such thing.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(Slug::NotFound, format!("no such {what}"))
    }

    /// Fields that are not valid.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = match errors.len() {
            1 => "1 field is not acceptable".into(),
            count => format!("{count} fields are not acceptable"),
        };
        let mut problem = Self::new(Slug::Validation, detail);
        problem.more().errors = errors;
        problem
    }

    /// One field of the body that is not valid.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::validation(vec![FieldError::at(pointer, detail)])
    }

    /// The word to branch on.
    pub fn slug(&self) -> Slug {
        self.slug
    }

    /// Everything that is wrong with the request, if that is the problem.
    pub fn errors(&self) -> &[FieldError] {
        self.more.as_ref().map_or(&[], |more| &more.errors)
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.more().retry_after = Some(wait);
        self
    }

    /// Says which limit was hit.
    #[must_use]
    pub fn limit(mut self, name: impl Into<Cow<'static, str>>, used: u64, max: u64) -> Self {
        self.more().limit = Some(LimitHit { name: name.into(), used, max });
        self
    }

    /// Points at the field of the body that it is about.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        let error = FieldError::at(pointer, self.detail.as_ref());
        self.more().errors.push(error);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.more().header = Some((name, value));
        self
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

impl FieldError {
    /// A field of the body.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }

    /// A parameter of the query.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.into()), detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = self.slug.row();
        let more = self.more.unwrap_or_default();
        let body = Body {
            kind: format!("/problems/{}", row.slug),
            title: row.title,
            status: row.status.as_u16(),
            code: row.slug,
            detail: &self.detail,
            retryable: row.retryable,
            retry_after_ms: more.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            errors: &more.errors,
            limit: more.limit.as_ref(),
        };
        let bytes = serde_json::to_vec(&body).expect("texts and numbers always make JSON");
        let mut response = (row.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response();
        if let Some(wait) = more.retry_after {
            // RFC 9110 10.2.3: whole seconds; a client that waits too little asks again in vain
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        response.headers_mut().extend(more.header);
        response
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        let wait = Duration::from_secs(2);
        match error {
            JournalError::Fenced => Self::new(Slug::Conflict, "the job has moved on meanwhile"),
            JournalError::Full => {
                Self::new(Slug::StoreFull, "nothing was stored: its disk is full").retry_after(wait)
            }
            JournalError::Unavailable(cause) => {
                tracing::warn!(%cause, "the store does not answer");
                Self::new(Slug::StoreUnavailable, "nothing was stored or read; try again").retry_after(wait)
            }
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::QueueFull { limit, retry_after } => {
                let max = limit as u64;
                Self::new(Slug::QueueFull, format!("the queue holds {limit} jobs, its limit"))
                    .limit("scheduler.max_queued", max, max)
                    .retry_after(retry_after)
            }
            Rejection::Draining => Self::draining(),
            Rejection::Journal(error) => error.into(),
        }
    }
}

impl Problem {
    /// The platform is shutting down; whoever comes next takes the request.
    pub(crate) fn draining() -> Self {
        Self::new(Slug::Draining, "no new work is taken").retry_after(Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::show;

    #[test]
    fn every_slug_is_a_url_segment_and_an_error() {
        for (index, slug) in Slug::ALL.into_iter().enumerate() {
            assert!(slug.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{slug:?}");
            assert!(slug.status().is_client_error() || slug.status().is_server_error(), "{slug:?}");
            assert_eq!(Slug::ALL.iter().position(|other| other.as_str() == slug.as_str()), Some(index));
        }
    }

    #[tokio::test]
    async fn a_full_queue_says_when_to_come_back() {
        let rejection = Rejection::QueueFull { limit: 1000, retry_after: Duration::from_millis(2500) };
        insta::assert_snapshot!(show(Problem::from(rejection).into_response()).await);
    }

    #[tokio::test]
    async fn a_validation_names_every_field() {
        let errors = vec![
            FieldError::at("/env/LD_PRELOAD", "the loader's variables cannot be set"),
            FieldError::parameter("limit", "1 to 200"),
        ];
        insta::assert_snapshot!(show(Problem::validation(errors).into_response()).await);
    }

    #[tokio::test]
    async fn a_broken_store_does_not_say_where_it_lives() {
        let error = JournalError::Unavailable("/var/lib/mgx/store.db: disk I/O error".into());
        let text = show(Problem::from(error).into_response()).await;
        assert!(text.contains("store-unavailable") && !text.contains("/var"), "{text}");
    }
}
