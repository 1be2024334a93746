//! When a request to the model is repeated: the one policy for all failures. Pure; chance is an argument.

use std::time::Duration;

use mgx_protocol::RetryPolicy;

use crate::team::model::error::LlmError;

/// How often a reply that broke off is asked for again: each try is paid for.
const MAX_BROKEN_REPLIES: u32 = 4;

/// The shortest time after which a job is to go on that has given its slot back.
const MIN_RESUME: Duration = Duration::from_secs(5);

/// The failures of one request so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    policy: RetryPolicy,
    tries: u32,
    broken: u32,
    waited: Duration,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The request is sent again after this pause.
    Wait(Duration),
    /// The attempt ends and returns its slot; the job goes on after this time.
    GiveBack(Duration),
    /// The failure is final.
    Fail,
}

impl Retries {
    /// No failure yet.
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, tries: 0, broken: 0, waited: Duration::ZERO }
    }

    /// How many tries have failed.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// What follows `error`. `random` (0 to 1) spreads the pauses of many jobs.
    pub(crate) fn next(&mut self, error: &LlmError, random: f64) -> Next {
        self.tries += 1;
        let requested = match error {
            // an error in mid-stream: what came before it is paid for
            LlmError::Answered(error) if error.is_retryable && error.status.is_none() => {
                self.broken += 1;
                if self.broken >= MAX_BROKEN_REPLIES {
                    return Next::Fail;
                }
                error.retry_after
            }
            LlmError::Answered(error) if error.is_retryable => error.retry_after,
            // the platform itself is away: its slot cannot be given back to it, and nothing was asked of the provider
            LlmError::Connection(_) => return Next::Wait(self.pause(random)),
            LlmError::Idle(_) => None,
            LlmError::Cut | LlmError::Unreadable(_) => {
                self.broken += 1;
                if self.broken >= MAX_BROKEN_REPLIES {
                    return Next::Fail;
                }
                None
            }
            LlmError::Answered(_) | LlmError::TooLarge | LlmError::Away { .. } | LlmError::Report(_) => {
                return Next::Fail;
            }
        };
        let millis = |millis: u64| Duration::from_millis(millis);
        let pause = self.pause(random).max(requested.unwrap_or_default());
        if pause > millis(self.policy.max_outage_ms) {
            return Next::Fail;
        }
        if self.waited + pause > millis(self.policy.hold_ms) {
            return Next::GiveBack(pause.max(MIN_RESUME.min(millis(self.policy.hold_ms))));
        }
        self.waited += pause;
        Next::Wait(pause)
    }

    /// The pause after this many tries.
    fn pause(&self, random: f64) -> Duration {
        let millis = |millis: u64| Duration::from_millis(millis);
        let doubled =
            millis(self.policy.first_pause_ms) * 2u32.saturating_pow(self.tries.saturating_sub(1).min(16));
        doubled.min(millis(self.policy.max_pause_ms)).mul_f64(0.75 + random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const POLICY: RetryPolicy =
        RetryPolicy { first_pause_ms: 1000, max_pause_ms: 8000, hold_ms: 20_000, max_outage_ms: 3_600_000 };

    fn answered(status: u16, retry_after: Option<u64>) -> LlmError {
        LlmError::of_body(Some(status), &json!({}), retry_after.map(Duration::from_secs))
    }

    fn all(error: &LlmError) -> Vec<Next> {
        let mut retries = Retries::new(POLICY);
        let mut all = Vec::new();
        loop {
            all.push(retries.next(error, 0.5));
            if !matches!(all.last(), Some(Next::Wait(_))) {
                return all;
            }
        }
    }

    #[test]
    fn pauses_double_until_the_slot_is_given_back() {
        let seconds = |seconds| Next::Wait(Duration::from_secs(seconds));
        let give_back = |seconds| Next::GiveBack(Duration::from_secs(seconds));
        for passing in [408, 409, 429, 500, 502, 503, 529] {
            let expected = [seconds(1), seconds(2), seconds(4), seconds(8), give_back(8)];
            assert_eq!(all(&answered(passing, None)), expected, "{passing}");
        }
        let mut retries = Retries::new(POLICY);
        let away: Vec<_> =
            (0..100).map(|_| retries.next(&LlmError::Connection(String::new()), 0.5)).collect();
        assert!(away.iter().all(|next| matches!(next, Next::Wait(_))), "the platform is waited for");
        assert_eq!(all(&answered(429, Some(15))), [seconds(15), give_back(15)]);
        assert_eq!(all(&answered(429, Some(0))).len(), 5, "a pause of nothing is a pause all the same");
        assert_eq!(all(&answered(429, Some(60))), [give_back(60)]);
        assert_eq!(all(&answered(429, Some(86_400))), [Next::Fail], "longer than a job may wait");
    }

    #[test]
    fn what_cannot_pass_is_not_repeated() {
        for status in [400, 401, 402, 403, 404, 413, 422] {
            assert_eq!(all(&answered(status, None)), [Next::Fail], "{status}");
        }
        let quota = json!({ "error": { "message": "m", "retryable": false } });
        assert_eq!(all(&LlmError::of_body(Some(429), &quota, None)), [Next::Fail]);
        assert_eq!(all(&LlmError::TooLarge), [Next::Fail]);
        assert_eq!(all(&LlmError::Cut).len(), 4, "a broken reply is paid for each time");
    }

    #[test]
    fn chance_spreads_the_pauses() {
        let pause = |random| Retries::new(POLICY).next(&answered(503, None), random);
        assert_eq!(pause(0.0), Next::Wait(Duration::from_millis(750)));
        assert_eq!(pause(1.0), Next::Wait(Duration::from_millis(1250)));
    }
}
