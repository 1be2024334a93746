//! The problem types: their codes, statuses and titles.

use axum::http::StatusCode;

/// A problem type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slug {
    /// The body is not JSON, or not JSON we accept.
    MalformedJson,
    /// `Last-Event-ID` or `after` is not an event number.
    InvalidLastEventId,
    /// `Idempotency-Key` is not a key.
    InvalidIdempotencyKey,
    /// A path that cannot be inside a workspace.
    InvalidPath,
    /// The request does not say once which host it is for.
    InvalidHost,
    /// No credentials, or wrong ones.
    Unauthorized,
    /// The token is valid, and lacks the right.
    Forbidden,
    /// The request has the cookie, and comes from a page of another site.
    CrossSite,
    /// A link leads out of the workspace.
    PathEscape,
    /// The resource does not exist, or is another user's.
    NotFound,
    /// The route exists, and does not take the method.
    MethodNotAllowed,
    /// The route makes no media type that `Accept` allows.
    NotAcceptable,
    /// The body did not arrive in time.
    RequestTimeout,
    /// It exists already, or its state does not allow the request.
    Conflict,
    /// The job has ended.
    AlreadyFinished,
    /// The session has used its budget of the models.
    BudgetExhausted,
    /// A request with the same key is being answered.
    InProgress,
    /// A number that no event has yet.
    EventIdAhead,
    /// The events are no longer kept.
    EventsTrimmed,
    /// A directory, a pipe, a device.
    NotRegularFile,
    /// The file does not have the expected version.
    EtagMismatch,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The route does not read the body's content type.
    UnsupportedMediaType,
    /// No byte of the file is in the range.
    RangeNotSatisfiable,
    /// The body is JSON, and not valid for the route; or a parameter is invalid.
    Validation,
    /// A line of an export is invalid.
    InvalidExport,
    /// An earlier request with the key was another one.
    IdempotencyMismatch,
    /// The job asks for more than its limits.
    QuotaExceeded,
    /// The user submits jobs too fast.
    RateLimited,
    /// The queue is full.
    QueueFull,
    /// No more idempotency keys are remembered.
    TooManyKeys,
    /// Another session is being imported.
    ImportBusy,
    /// Too many passwords are being hashed.
    TooManySignIns,
    /// Too many event streams are open.
    TooManyStreams,
    /// A bug or a failure of the server.
    Internal,
    /// The platform is shutting down.
    Draining,
    /// No process of the platform schedules at the moment.
    NoScheduler,
    /// The store does not answer.
    StoreUnavailable,
    /// The store's disk is full.
    StoreFull,
    /// The container engine does not answer.
    RuntimeUnavailable,
    /// The workspace's disk is full.
    WorkspaceFull,
}

impl std::fmt::Display for Slug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of the table.
pub(crate) struct Row {
    pub(crate) slug: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) retryable: bool,
}

impl Slug {
    /// Every slug, in the order of the table.
    pub const ALL: [Self; 41] = [
        Self::MalformedJson,
        Self::InvalidLastEventId,
        Self::InvalidIdempotencyKey,
        Self::InvalidPath,
        Self::InvalidHost,
        Self::Unauthorized,
        Self::Forbidden,
        Self::CrossSite,
        Self::PathEscape,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::Conflict,
        Self::AlreadyFinished,
        Self::BudgetExhausted,
        Self::InProgress,
        Self::EventIdAhead,
        Self::EventsTrimmed,
        Self::NotRegularFile,
        Self::EtagMismatch,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::RangeNotSatisfiable,
        Self::Validation,
        Self::InvalidExport,
        Self::IdempotencyMismatch,
        Self::QuotaExceeded,
        Self::RateLimited,
        Self::QueueFull,
        Self::TooManyKeys,
        Self::ImportBusy,
        Self::TooManySignIns,
        Self::TooManyStreams,
        Self::Internal,
        Self::Draining,
        Self::NoScheduler,
        Self::StoreUnavailable,
        Self::StoreFull,
        Self::RuntimeUnavailable,
        Self::WorkspaceFull,
    ];

    /// The `code` of a problem, and the last part of its `type`.
    pub fn as_str(self) -> &'static str {
        self.row().slug
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.row().status
    }

    /// The table of statuses.
    #[rustfmt::skip]
    pub(crate) fn row(self) -> Row {
        use StatusCode as S;
        let row = |slug, status, title, retryable| Row { slug, status, title, retryable };
        match self {
            Self::MalformedJson => row("malformed-json", S::BAD_REQUEST, "The body is not acceptable JSON", false),
            Self::InvalidLastEventId => row("invalid-last-event-id", S::BAD_REQUEST, "Not an event number", false),
            Self::InvalidIdempotencyKey => row("invalid-idempotency-key", S::BAD_REQUEST, "Not an idempotency key", false),
            Self::InvalidPath => row("invalid-path", S::BAD_REQUEST, "Not a path in a workspace", false),
            Self::InvalidHost => row("invalid-host", S::BAD_REQUEST, "Not one host", false),
            Self::Unauthorized => row("unauthorized", S::UNAUTHORIZED, "A valid token is needed", false),
            Self::Forbidden => row("forbidden", S::FORBIDDEN, "Not allowed", false),
            Self::CrossSite => row("cross-site", S::FORBIDDEN, "From a page of another site", false),
            Self::PathEscape => row("path-escape", S::FORBIDDEN, "The path leads out of the workspace", false),
            Self::NotFound => row("not-found", S::NOT_FOUND, "Not found", false),
            Self::MethodNotAllowed => row("method-not-allowed", S::METHOD_NOT_ALLOWED, "Method not allowed", false),
            Self::NotAcceptable => row("not-acceptable", S::NOT_ACCEPTABLE, "Nothing made here is accepted", false),
            Self::RequestTimeout => row("request-timeout", S::REQUEST_TIMEOUT, "The body did not arrive in time", true),
            Self::Conflict => row("conflict", S::CONFLICT, "Conflict", false),
            Self::AlreadyFinished => row("already-finished", S::CONFLICT, "The job has ended", false),
            Self::BudgetExhausted => row("budget-exhausted", S::CONFLICT, "The session's budget is used up", false),
            Self::InProgress => row("in-progress", S::CONFLICT, "The first request is not answered yet", true),
            Self::EventIdAhead => row("event-id-ahead", S::CONFLICT, "No such event yet", false),
            Self::EventsTrimmed => row("events-trimmed", S::GONE, "These events are kept no longer", false),
            Self::NotRegularFile => row("not-regular-file", S::CONFLICT, "Not a regular file", false),
            Self::EtagMismatch => row("etag-mismatch", S::PRECONDITION_FAILED, "The file has changed", false),
            Self::BodyTooLarge => row("body-too-large", S::PAYLOAD_TOO_LARGE, "The body is too large", false),
            Self::UnsupportedMediaType => row("unsupported-media-type", S::UNSUPPORTED_MEDIA_TYPE, "Unsupported content type", false),
            Self::RangeNotSatisfiable => row("range-not-satisfiable", S::RANGE_NOT_SATISFIABLE, "No byte in this range", false),
            Self::Validation => row("validation", S::UNPROCESSABLE_ENTITY, "The request is not valid", false),
            Self::InvalidExport => row("invalid-export", S::UNPROCESSABLE_ENTITY, "Not an exported session", false),
            Self::IdempotencyMismatch => row("idempotency-mismatch", S::UNPROCESSABLE_ENTITY, "The key belongs to another request", false),
            Self::QuotaExceeded => row("quota-exceeded", S::UNPROCESSABLE_ENTITY, "More than allowed", false),
            Self::RateLimited => row("rate-limited", S::TOO_MANY_REQUESTS, "Too many jobs at once", true),
            Self::QueueFull => row("queue-full", S::TOO_MANY_REQUESTS, "The queue is full", true),
            Self::TooManyKeys => row("too-many-keys", S::TOO_MANY_REQUESTS, "Too many idempotency keys", true),
            Self::ImportBusy => row("import-busy", S::TOO_MANY_REQUESTS, "Another session is being imported", true),
            Self::TooManySignIns => row("too-many-sign-ins", S::TOO_MANY_REQUESTS, "Too many passwords at once", true),
            Self::TooManyStreams => row("too-many-streams", S::TOO_MANY_REQUESTS, "Too many event streams", true),
            Self::Internal => row("internal", S::INTERNAL_SERVER_ERROR, "Internal error", true),
            Self::Draining => row("draining", S::SERVICE_UNAVAILABLE, "Shutting down", true),
            Self::NoScheduler => row("no-scheduler", S::SERVICE_UNAVAILABLE, "No process schedules just now", true),
            Self::StoreUnavailable => row("store-unavailable", S::SERVICE_UNAVAILABLE, "The store does not answer", true),
            Self::StoreFull => row("store-full", S::SERVICE_UNAVAILABLE, "The store is full", true),
            Self::RuntimeUnavailable => row("runtime-unavailable", S::SERVICE_UNAVAILABLE, "The container engine does not answer", true),
            Self::WorkspaceFull => row("workspace-full", S::INSUFFICIENT_STORAGE, "The workspace is full", false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slug_is_a_url_segment_and_an_error() {
        for (index, slug) in Slug::ALL.into_iter().enumerate() {
            assert!(slug.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{slug:?}");
            assert!(slug.status().is_client_error() || slug.status().is_server_error(), "{slug:?}");
            assert_eq!(Slug::ALL.iter().position(|other| other.as_str() == slug.as_str()), Some(index));
        }
    }
}
