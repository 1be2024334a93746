//! Every error answer: RFC 9457 `application/problem+json`.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use mgx_policies::{Refusal, TimeLimit};
use mgx_scheduler::{JournalError, Rejection};
use serde::Serialize;
use utoipa::ToSchema;

pub use super::slug::Slug;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// An error answer.
#[derive(Debug)]
pub struct Problem {
    slug: Slug,
    detail: Cow<'static, str>,
    more: Option<Box<More>>,
}

/// The members that only some problems have.
#[derive(Debug, Default)]
struct More {
    errors: Vec<FieldError>,
    limit: Option<LimitHit>,
    retry_after: Option<Duration>,
    oldest: Option<u64>,
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
pub(crate) struct LimitHit {
    /// Its key in the configuration.
    pub(crate) name: Cow<'static, str>,
    /// How much is used, or was requested.
    pub(crate) used: u64,
    /// How much is allowed.
    pub(crate) max: u64,
}

/// The body of a problem.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemView {
    /// `/problems/` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// A short text, the same for every problem of this type.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// The code of the problem type, for programs.
    code: &'static str,
    /// What went wrong this time.
    #[schema(value_type = String)]
    detail: Cow<'static, str>,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// Milliseconds to wait before trying again; the `Retry-After` header has it in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// Everything that is wrong with the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// The limit that was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<LimitHit>,
    /// The number of the oldest event that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<u64>,
}

impl Problem {
    /// A problem; `detail` is a lower-case fragment without secrets or host paths.
    pub fn new(slug: Slug, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { slug, detail: detail.into(), more: None }
    }

    /// `what` does not exist, or is another user's.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(Slug::NotFound, format!("no such {what}"))
    }

    /// A browser sent the cookie, and the request does not come from a page of this origin.
    pub(crate) fn cross_site() -> Self {
        Self::new(Slug::CrossSite, "with a cookie, a request has to come from a page of this origin")
    }

    /// Invalid fields.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = match errors.len() {
            1 => "1 field is not acceptable".into(),
            count => format!("{count} fields are not acceptable"),
        };
        let mut problem = Self::new(Slug::Validation, detail);
        problem.more().errors = errors;
        problem
    }

    /// One invalid field of the body.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::validation(vec![FieldError::at(pointer, detail)])
    }

    /// The problem type.
    pub fn slug(&self) -> Slug {
        self.slug
    }

    /// Everything that is wrong with the request, if that is the problem.
    pub fn errors(&self) -> &[FieldError] {
        self.more.as_ref().map_or(&[], |more| &more.errors)
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.slug.row().retryable
    }

    /// The body, for a problem that is part of a larger answer.
    pub(crate) fn view(self) -> ProblemView {
        let row = self.slug.row();
        let More { errors, limit, retry_after, oldest, header: _ } =
            self.more.map(|more| *more).unwrap_or_default();
        ProblemView {
            kind: format!("/problems/{}", row.slug),
            title: row.title,
            status: row.status.as_u16(),
            code: row.slug,
            detail: self.detail,
            retryable: row.retryable,
            retry_after_ms: retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            errors,
            limit,
            oldest,
        }
    }

    /// Adds the number of the oldest event that is kept.
    #[must_use]
    pub fn oldest(mut self, seq: u64) -> Self {
        self.more().oldest = Some(seq);
        self
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.more().retry_after = Some(wait);
        self
    }

    /// Adds the limit that was hit: its key in the configuration, and its values.
    #[must_use]
    pub fn limit(mut self, name: impl Into<Cow<'static, str>>, used: u64, max: u64) -> Self {
        self.more().limit = Some(LimitHit { name: name.into(), used, max });
        self
    }

    /// Adds the field of the body that the problem is about.
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

    /// The field of a time that is 0 or too long.
    pub(crate) fn too_long(limit: TimeLimit, max_s: u32) -> Self {
        let pointer = match limit {
            TimeLimit::Run => "/timeout_s",
            TimeLimit::Wait => "/queue_ttl_s",
        };
        Self::at(pointer, format!("1 to {max_s} seconds"))
    }

    /// A parameter of the query.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.into()), detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.slug.status();
        let (wait, more) =
            self.more.as_mut().map_or((None, None), |more| (more.retry_after, more.header.take()));
        let bytes = serde_json::to_vec(&self.view()).expect("texts and numbers always make JSON");
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response();
        if let Some(wait) = wait {
            // RFC 9110 section 10.2.3: whole seconds, rounded up
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        response.headers_mut().extend(more);
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

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let slug = match refusal {
            Refusal::TooLong { limit, max_s, .. } => {
                return Self::validation(vec![FieldError::too_long(limit, max_s)]);
            }
            Refusal::Scheduler(Rejection::Draining) => return Self::draining(),
            Refusal::Scheduler(Rejection::Journal(error)) => return error.into(),
            Refusal::NeverFits { .. } => Slug::QuotaExceeded,
            Refusal::BudgetSpent { .. } => Slug::BudgetExhausted,
            Refusal::TooFast { .. } | Refusal::TooManyUsers { .. } => Slug::RateLimited,
            Refusal::Scheduler(Rejection::QueueFull { .. }) => Slug::QueueFull,
            Refusal::Scheduler(Rejection::GroupBusy { .. }) => Slug::Conflict,
        };
        let mut problem = Self::new(slug, refusal.to_string());
        if let Some(hit) = refusal.hit() {
            problem = problem.limit(hit.limit, hit.used, hit.max);
        }
        match refusal.retry_after() {
            Some(wait) => problem.retry_after(wait),
            None => problem,
        }
    }
}

impl Problem {
    /// The platform is shutting down; the next server takes the request.
    pub(crate) fn draining() -> Self {
        Self::new(Slug::Draining, "no new work is taken").retry_after(Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::show;
    use mgx_policies::LlmResource;
    use mgx_scheduler::QueueScope;

    #[tokio::test]
    async fn every_refusal_names_its_limit_and_when_to_come_back() {
        let retry_after = Duration::from_millis(2500);
        let full = |scope, limit| Rejection::QueueFull { scope, limit, used: limit, retry_after }.into();
        let mut shown = String::new();
        for refusal in [
            full(QueueScope::Everyone, 1000),
            full(QueueScope::User, 100),
            Refusal::TooFast { per_minute: 600, burst: 100, retry_after: Duration::from_millis(100) },
            Refusal::TooManyUsers { max: 100_000, retry_after: Duration::from_mins(1) },
            Refusal::BudgetSpent { of: LlmResource::Tokens, used: 1007, max: 1000 },
            Refusal::BudgetSpent { of: LlmResource::Cost, used: 2_513_000, max: 2_500_000 },
            Refusal::NeverFits { limit: "quotas.session_memory", asked: 8 << 30, max: 4 << 30 },
            Refusal::TooLong { limit: TimeLimit::Run, asked_s: 7201, max_s: 7200 },
            Refusal::TooLong { limit: TimeLimit::Wait, asked_s: 3601, max_s: 3600 },
        ] {
            shown.push_str(&show(Problem::from(refusal).into_response()).await);
            shown.push_str("\n\n");
        }
        insta::assert_snapshot!(shown);
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
    async fn a_store_error_does_not_name_the_path_of_the_store() {
        let error = JournalError::Unavailable("/var/lib/mgx/store.db: disk I/O error".into());
        let text = show(Problem::from(error).into_response()).await;
        assert!(text.contains("store-unavailable") && !text.contains("/var"), "{text}");
    }
}
