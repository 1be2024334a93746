//! The ids of the sessions and jobs that a request makes: new ones, or those stored with its `Idempotency-Key`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jiff::Timestamp;
use mgx_apps::Intent;
use mgx_protocol::{JobId, SessionId};

/// The ids of the sessions and jobs that a request makes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    intent: Option<Arc<Intent>>,
    resumed: bool,
}

impl Ids {
    /// The ids of `intent`; `resumed`: an earlier request, perhaps of an earlier process, may have used them.
    pub(crate) fn of(intent: Arc<Intent>, resumed: bool) -> Self {
        Self { intent: Some(intent), resumed }
    }

    /// The id of job number `index` of the request.
    pub(crate) fn job(&self, index: u16) -> JobId {
        self.intent.as_ref().map_or_else(JobId::new, |intent| intent.job_id(index))
    }

    /// The id of the session, if the request has a key.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.intent.as_ref().map(|intent| intent.session_id())
    }

    /// When the first request with the key came, if this is a later one: a job or session made since may be its own.
    pub(crate) fn resumed(&self) -> Option<Timestamp> {
        self.intent.as_ref().filter(|_| self.resumed).map(|intent| intent.at)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
