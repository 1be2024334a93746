//! The report of a recovery: how many jobs and containers were found, and what happened to them.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What was found of the process before, and how long the recovery took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryReport {
    /// When the platform started.
    pub at: Timestamp,
    /// Milliseconds until the last run was reattached.
    pub took_ms: u64,
    /// Milliseconds of them until the engine had listed its containers.
    pub listed_after_ms: u64,
    /// Whether the engine was away at first.
    pub engine_was_away: bool,
    /// Jobs whose commands run on, and whose tasks are attached to them again.
    pub reattached: u64,
    /// Jobs whose containers had ended meanwhile.
    pub finalised: u64,
    /// Jobs whose containers were gone.
    pub lost: u64,
    /// Jobs whose start was not complete, and begins anew.
    pub started_again: u64,
    /// Jobs that wait as before.
    pub left_alone: u64,
    /// Containers in which nothing had begun, or of an earlier attempt, removed at once.
    pub cleared: u64,
    /// Containers without a job; the reaper removes them after a grace period.
    pub orphans: u64,
}

impl RecoveryReport {
    /// A report of a recovery that begins now.
    pub(crate) fn at(at: Timestamp) -> Self {
        Self {
            at,
            took_ms: 0,
            listed_after_ms: 0,
            engine_was_away: false,
            reattached: 0,
            finalised: 0,
            lost: 0,
            started_again: 0,
            left_alone: 0,
            cleared: 0,
            orphans: 0,
        }
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reattached, finalised, lost, started_again, left_alone, cleared, orphans, .. } = self;
        write!(
            f,
            "jobs: {reattached} go on, {finalised} had ended, {lost} lost, {started_again} started again, "
        )?;
        write!(f, "{left_alone} wait; containers: {cleared} cleared away, {orphans} orphaned; ")?;
        write!(f, "in {} ms", self.took_ms)?;
        if self.engine_was_away {
            write!(f, ", of which {} ms until the engine answered", self.listed_after_ms)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_one_line() {
        let report = RecoveryReport {
            took_ms: 412,
            listed_after_ms: 12,
            reattached: 30,
            finalised: 2,
            lost: 1,
            started_again: 3,
            left_alone: 120,
            cleared: 4,
            orphans: 1,
            ..RecoveryReport::at(Timestamp::UNIX_EPOCH)
        };
        insta::assert_snapshot!(report, @"jobs: 30 go on, 2 had ended, 1 lost, 3 started again, 120 wait; containers: 4 cleared away, 1 orphaned; in 412 ms");
        let late =
            RecoveryReport { engine_was_away: true, took_ms: 12_412, listed_after_ms: 12_012, ..report };
        insta::assert_snapshot!(late, @"jobs: 30 go on, 2 had ended, 1 lost, 3 started again, 120 wait; containers: 4 cleared away, 1 orphaned; in 12412 ms, of which 12012 ms until the engine answered");
    }
}
