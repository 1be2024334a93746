//! Who is asking: the live attempt behind a bearer token (RFC 6750).

use http::{HeaderMap, header};
use mgx_protocol::{Attempt, JobId, SessionId};

use super::{Attempts, LlmError};

/// The header in which the runner names the agent that asks. It is a label: nothing is decided by it except
/// which part the demo model plays.
const AGENT: &str = "x-mgx-agent";

/// A live attempt, and the agent in it that asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) job: JobId,
    pub(super) attempt: Attempt,
    pub(super) session: SessionId,
    pub(super) agent: Option<String>,
}

impl Caller {
    /// The caller that these headers prove.
    pub(super) async fn of(headers: &HeaderMap, attempts: &dyn Attempts) -> Result<Self, LlmError> {
        let (job, attempt) =
            bearer(headers).and_then(|token| attempts.verify(token)).ok_or_else(LlmError::invalid_key)?;
        if !attempts.is_live(job, attempt) {
            return Err(LlmError::dead_key());
        }
        let session = attempts.session(job).await.map_err(|why| {
            tracing::warn!(%job, %why, "cannot look up a job's session");
            LlmError::store()
        })?;
        let session = session.ok_or_else(LlmError::dead_key)?;
        Ok(Self { job, attempt, session, agent: agent(headers) })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The agent's name if it could be one: 1 to 40 of a-z 0-9 _.
fn agent(headers: &HeaderMap) -> Option<String> {
    let name = headers.get(AGENT)?.to_str().ok()?;
    let valid = (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    valid.then(|| name.to_owned())
}
