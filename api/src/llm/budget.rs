//! What a session and an attempt may use of the model, checked before anything is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mgx_apps::SessionStore;
use mgx_protocol::{Attempt, JobId, SessionId};
use tokio::time::Instant;

use super::caller::Caller;
use super::{LlmError, LlmLimits};

const MINUTE: Duration = Duration::from_mins(1);

/// Attempts whose rate is remembered; live ones are far fewer.
const MAX_WINDOWS: usize = 4096;

/// Admits requests while there is budget.
#[derive(Debug)]
pub(super) struct Budget {
    limits: LlmLimits,
    sessions: Arc<dyn SessionStore>,
    under_way: Arc<Mutex<HashMap<SessionId, u64>>>,
    windows: Mutex<HashMap<(JobId, Attempt), Window>>,
}

/// The requests of one attempt in the current minute.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    requests: u32,
}

/// A request that was admitted and is not booked yet. Counts against the session until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    session: SessionId,
    under_way: Arc<Mutex<HashMap<SessionId, u64>>>,
}

impl Budget {
    pub(super) fn new(limits: LlmLimits, sessions: Arc<dyn SessionStore>) -> Self {
        Self { limits, sessions, under_way: Arc::default(), windows: Mutex::default() }
    }

    /// Lets a request pass, or says which limit it meets.
    pub(super) async fn admit(&self, caller: &Caller) -> Result<Permit, LlmError> {
        self.check_rate((caller.job, caller.attempt))?;
        let (permit, others) = Permit::take(&caller.session, &self.under_way);
        let LlmLimits { max_requests, max_tokens, max_cost_micros, requests_per_minute: _ } = self.limits;
        if max_requests == 0 && max_tokens == 0 && max_cost_micros == 0 {
            return Ok(permit);
        }
        let session = self.sessions.session(&caller.session).await.map_err(|why| {
            tracing::warn!(session = %caller.session, %why, "cannot read what a session has used");
            LlmError::store()
        })?;
        let used = session.ok_or_else(LlmError::dead_key)?.usage;
        let requests = used.requests + others;
        if max_requests > 0 && requests >= max_requests {
            return Err(LlmError::budget("max_requests", max_requests, requests));
        }
        let tokens = used.prompt_tokens + used.completion_tokens;
        if max_tokens > 0 && tokens >= max_tokens {
            return Err(LlmError::budget("max_tokens", max_tokens, tokens));
        }
        if max_cost_micros > 0 && used.cost_micros >= max_cost_micros {
            return Err(LlmError::budget("max_cost_micros", max_cost_micros, used.cost_micros));
        }
        Ok(permit)
    }

    fn check_rate(&self, attempt: (JobId, Attempt)) -> Result<(), LlmError> {
        let limit = self.limits.requests_per_minute;
        if limit == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_WINDOWS && !windows.contains_key(&attempt) {
            windows.retain(|_, window| now.duration_since(window.since) < MINUTE);
            if windows.len() >= MAX_WINDOWS {
                return Err(LlmError::rate(limit, MINUTE));
            }
        }
        let window = windows.entry(attempt).or_insert(Window { since: now, requests: 0 });
        if now.duration_since(window.since) >= MINUTE {
            *window = Window { since: now, requests: 0 };
        }
        if window.requests >= limit {
            return Err(LlmError::rate(limit, MINUTE.saturating_sub(now.duration_since(window.since))));
        }
        window.requests += 1;
        Ok(())
    }
}

impl Permit {
    /// A permit, and how many others the session holds.
    fn take(session: &SessionId, under_way: &Arc<Mutex<HashMap<SessionId, u64>>>) -> (Self, u64) {
        let mut counts = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(session.clone()).or_default();
        let others = *count;
        *count += 1;
        (Self { session: session.clone(), under_way: under_way.clone() }, others)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.session);
            }
        }
    }
}
