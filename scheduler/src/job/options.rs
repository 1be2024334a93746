//! How a job waits for a slot and whether it is run again. A job that sets none of it gets the [`Default`].

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a job waits for a slot and whether it is run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulingOptions {
    /// 0 to 9; of one user's jobs the highest goes first.
    pub priority: u8,
    /// Jobs of one user and group run one at a time.
    pub group: Option<Group>,
    /// It does not join the queue before this.
    pub start_at: Option<Timestamp>,
    /// Seconds it may wait for a slot before it expires; without limit if `None`.
    pub queue_ttl_s: Option<u32>,
    /// How often it is run again when it fails, and after which pause.
    pub retry: Retry,
}

/// The longest pause before another run, in seconds.
const MAX_PAUSE_S: u64 = 3600;

/// The highest priority.
pub const MAX_PRIORITY: u8 = 9;

impl Default for SchedulingOptions {
    fn default() -> Self {
        Self { priority: 5, group: None, start_at: None, queue_ttl_s: None, retry: Retry::default() }
    }
}

/// Jobs that must not run at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name among the groups of the user.
    pub key: String,
    /// What happens to a job that is submitted while another has not ended.
    #[serde(default)]
    pub strategy: Strategy,
}

/// What happens to a job that is submitted while another of its group has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// It waits.
    #[default]
    Queue,
    /// It waits, and the others are cancelled.
    CancelInProgress,
    /// It is refused.
    CancelNewest,
}

/// How often a job is run again when its command has failed. Agents change files: the default is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// How often it is run again.
    pub times: u32,
    /// Seconds before the first time; each further time twice as long.
    pub backoff_s: u32,
}

impl Retry {
    /// The pause before the next run, after `runs` of them; `None`: there is no next run.
    pub fn pause(self, runs: u32) -> Option<Duration> {
        let retries = runs.checked_sub(1)?;
        let seconds = u64::from(self.backoff_s).saturating_mul(1u64.checked_shl(retries).unwrap_or(u64::MAX));
        (retries < self.times).then(|| Duration::from_secs(seconds.min(MAX_PAUSE_S)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_there_are_no_more_runs() {
        let retry = Retry { times: 3, backoff_s: 2 };
        let pauses: Vec<_> = (0..5).map(|runs| retry.pause(runs).map(|pause| pause.as_secs())).collect();
        assert_eq!(pauses, [None, Some(2), Some(4), Some(8), None]);
        assert_eq!(Retry::default().pause(1), None);
    }
}
