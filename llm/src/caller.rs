//! The caller of the proxy: the running attempt that a bearer token (RFC 6750) was issued to.

use http::{HeaderMap, header};
use mgx_protocol::{Attempt, JobId, SessionId};

use crate::{Attempts, JobOwner, LlmError};

/// The header in which the runner names the agent that sends the request. Not authenticated: it labels usage events,
/// and the demo model answers by it.
const AGENT_HEADER: &str = "x-mgx-agent";

/// A running attempt, and the agent in it that sends the request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) job: JobId,
    pub(crate) attempt: Attempt,
    pub(crate) session: SessionId,
    pub(crate) user: String,
    pub(crate) agent: Option<String>,
}

impl Caller {
    /// Authenticates a request by its headers.
    pub(crate) async fn authenticate(headers: &HeaderMap, attempts: &dyn Attempts) -> Result<Self, LlmError> {
        let (job, attempt) = bearer_token(headers)
            .and_then(|token| attempts.verify(token))
            .ok_or_else(LlmError::invalid_key)?;
        if !attempts.is_live(job, attempt) {
            return Err(LlmError::expired_key());
        }
        let owner = attempts.owner(job).await.map_err(|error| {
            tracing::warn!(%job, %error, "cannot look up a job's session");
            LlmError::store_unavailable()
        })?;
        let JobOwner { session, user } = owner.ok_or_else(LlmError::expired_key)?;
        Ok(Self { job, attempt, session, user, agent: agent_name(headers) })
    }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The agent's name, if it is 1 to 40 of `a-z`, `0-9` and `_`.
fn agent_name(headers: &HeaderMap) -> Option<String> {
    let name = headers.get(AGENT_HEADER)?.to_str().ok()?;
    let valid = (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    valid.then(|| name.to_owned())
}
