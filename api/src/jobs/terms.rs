//! The terms of a job as a client asks for them, and the rules that make checked [`SchedulingOptions`] of them.

use jiff::Timestamp;
use mgx_policies::{TimeLimit, TimeLimits};
use mgx_scheduler::MAX_PRIORITY;
use mgx_scheduler::{Group, Retry, SchedulingOptions, Strategy};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::problem::FieldError;
use crate::http::seconds::{Seconds, SecondsSchema};

/// The most a job is run again.
const MAX_RETRIES: u32 = 10;
/// The longest first pause before it is, in seconds.
const MAX_BACKOFF_S: u32 = 3600;
/// The longest name of a group, in bytes.
const MAX_GROUP: usize = 64;

/// Jobs that must not run at the same time.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroup {
    /// Its name among your groups: 1 to 64 of A-Z a-z 0-9 _ - .
    #[schema(example = "deploy")]
    key: String,
    /// What becomes of a job that comes while another of its group is live: `queue` (it waits), `cancel_in_progress`
    /// (it waits, the others are cancelled) or `cancel_newest` (it is refused).
    #[serde(default)]
    #[schema(value_type = String, example = "queue")]
    strategy: Strategy,
}

/// How often a job is run again when its command has failed.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRetry {
    /// 0 to 10. Agents change files, so the default is 0.
    #[serde(default)]
    times: u32,
    /// How long to wait before the first of them, 0 to 3600 seconds: a number of seconds, or a text such as `5m`. Each
    /// further wait is twice as long.
    #[serde(default)]
    #[schema(value_type = SecondsSchema, required = false, example = 30)]
    backoff_s: Seconds,
}

/// What a client says of the terms; whatever is absent has its default.
#[derive(Clone, Default)]
pub(crate) struct NewTerms {
    pub(crate) priority: Option<u8>,
    pub(crate) group: Option<NewGroup>,
    pub(crate) start_at: Option<Timestamp>,
    pub(crate) queue_ttl_s: Option<Seconds>,
    pub(crate) retry: NewRetry,
}

impl NewTerms {
    /// Checks every value; adds what is wrong to `errors`.
    pub(crate) fn checked(self, times: &TimeLimits, errors: &mut Vec<FieldError>) -> SchedulingOptions {
        let Self { priority, group, start_at, queue_ttl_s, retry } = self;
        let (queue_ttl_s, backoff_s) = (queue_ttl_s.map(Seconds::get), retry.backoff_s.get());
        let default = SchedulingOptions::default();
        let mut check = |holds: bool, pointer: &str, rule: String| {
            if !holds {
                errors.push(FieldError::at(pointer, rule));
            }
        };
        let priority = priority.unwrap_or(default.priority);
        check(priority <= MAX_PRIORITY, "/priority", format!("0 to {MAX_PRIORITY}"));
        let ttl = queue_ttl_s.is_none_or(|seconds| times.allow(TimeLimit::Wait, seconds));
        check(ttl, "/queue_ttl_s", format!("1 to {} seconds", times.max(TimeLimit::Wait)));
        check(retry.times <= MAX_RETRIES, "/retry/times", format!("0 to {MAX_RETRIES}"));
        check(backoff_s <= MAX_BACKOFF_S, "/retry/backoff_s", format!("0 to {MAX_BACKOFF_S} seconds"));
        let named = group.as_ref().is_none_or(|group| is_name(&group.key));
        check(named, "/group/key", format!("1 to {MAX_GROUP} of A-Z a-z 0-9 _ - ."));
        SchedulingOptions {
            priority,
            group: group.map(|NewGroup { key, strategy }| Group { key, strategy }),
            start_at,
            queue_ttl_s,
            retry: Retry { times: retry.times, backoff_s },
        }
    }
}

fn is_name(key: &str) -> bool {
    (1..=MAX_GROUP).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: TimeLimits = TimeLimits { run_s: 1, max_run_s: 1, wait_s: Some(60), max_wait_s: 3600 };

    fn seconds(json: &str) -> Seconds {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn absent_terms_have_their_defaults() {
        let mut errors = Vec::new();
        assert_eq!(NewTerms::default().checked(&TIMES, &mut errors), SchedulingOptions::default());
        assert!(errors.is_empty());
    }

    #[test]
    fn every_invalid_field_is_reported_at_once() {
        let mut errors = Vec::new();
        let terms = NewTerms {
            priority: Some(10),
            group: Some(NewGroup { key: "a/b".to_owned(), strategy: Strategy::Queue }),
            queue_ttl_s: Some(seconds("0")),
            retry: NewRetry { times: 11, backoff_s: seconds("3601") },
            start_at: None,
        };
        terms.checked(&TIMES, &mut errors);
        let pointers: Vec<_> = errors.iter().filter_map(|error| error.pointer.as_deref()).collect();
        assert_eq!(pointers, ["/priority", "/queue_ttl_s", "/retry/times", "/retry/backoff_s", "/group/key"]);
    }
}
