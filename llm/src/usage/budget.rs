//! Admits a request while its job, its session, its user and its attempt are within their limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::{Attempt, JobId, SessionId};
use tokio::time::Instant;

use crate::caller::Caller;
use crate::usage::limits::BudgetUse;
use crate::usage::sums::UsageSums;
use crate::{LlmError, LlmLimits, Usage, UsageLimits, UsageStore};

const MINUTE: Duration = Duration::from_mins(1);

/// Attempts whose request rate is kept in memory; far fewer run at a time.
const MAX_WINDOWS: usize = 4096;

/// The limits, and what counts against them.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: LlmLimits,
    store: Arc<dyn UsageStore>,
    sums: Arc<UsageSums>,
    in_flight: Arc<Mutex<HashMap<SessionId, u64>>>,
    windows: Mutex<HashMap<(JobId, Attempt), RateWindow>>,
}

/// The requests of one attempt in the current minute.
#[derive(Clone, Copy, Debug)]
struct RateWindow {
    since: Instant,
    requests: u32,
}

/// The permission to send one request. The request counts against its session until this is dropped; from then on
/// its recorded usage does.
#[derive(Debug)]
pub(crate) struct RequestPermit {
    session: SessionId,
    in_flight: Arc<Mutex<HashMap<SessionId, u64>>>,
}

impl Budget {
    pub(crate) fn new(limits: LlmLimits, store: Arc<dyn UsageStore>, sums: Arc<UsageSums>) -> Self {
        Self { limits, store, sums, in_flight: Arc::default(), windows: Mutex::default() }
    }

    /// Admits a request, or refuses it with the limit that it exceeds.
    pub(crate) async fn admit(&self, caller: &Caller) -> Result<RequestPermit, LlmError> {
        self.check_rate((caller.job, caller.attempt))?;
        let (permit, others) = RequestPermit::take(&caller.session, &self.in_flight);
        let session = if self.limits.session == UsageLimits::default() {
            Usage::default()
        } else {
            let used = self.store.usage(&caller.session).await.map_err(|error| {
                tracing::warn!(session = %caller.session, %error, "cannot read a session's usage");
                LlmError::store_unavailable()
            })?;
            used.ok_or_else(LlmError::expired_key)?
        };
        let session = session.plus(Usage { requests: others, ..Usage::default() });
        let (job, user) = self.sums.of(caller.job, &caller.user, Timestamp::now());
        let exhausted = self.limits.budget(job, session, user).into_iter().find(BudgetUse::is_exhausted);
        if let Some(budget) = exhausted {
            return Err(LlmError::budget_exhausted(budget));
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
                return Err(LlmError::rate_limited(limit, MINUTE));
            }
        }
        let window = windows.entry(attempt).or_insert(RateWindow { since: now, requests: 0 });
        if now.duration_since(window.since) >= MINUTE {
            *window = RateWindow { since: now, requests: 0 };
        }
        if window.requests >= limit {
            return Err(LlmError::rate_limited(
                limit,
                MINUTE.saturating_sub(now.duration_since(window.since)),
            ));
        }
        window.requests += 1;
        Ok(())
    }
}

impl RequestPermit {
    /// A permit, and the number of other permits that the session holds.
    fn take(session: &SessionId, in_flight: &Arc<Mutex<HashMap<SessionId, u64>>>) -> (Self, u64) {
        let mut counts = in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(session.clone()).or_default();
        let others = *count;
        *count += 1;
        (Self { session: session.clone(), in_flight: in_flight.clone() }, others)
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        let mut counts = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.session);
            }
        }
    }
}
