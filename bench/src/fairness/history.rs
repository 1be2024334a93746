//! The history of a testbed: which job was queued, admitted and ended when, by its log.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::{EventKind, JobId, StateName};
use mgx_scheduler::Caps;

use super::cap_audit::CapAudit;
use super::workload::SimulatedJob;

/// Steps of jobs, by the log.
#[derive(Debug)]
pub(super) struct History {
    /// In order of time.
    steps: Vec<(Timestamp, Step, JobId)>,
    jobs: HashMap<JobId, SimulatedJob>,
}

/// A step of a job. At equal times, jobs end before others are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The job holds no slot any more.
    Ended,
    /// The job is stored.
    Queued,
    /// The job holds a slot.
    Admitted,
}

impl Step {
    /// The step that an event of this kind stands for, if it does.
    pub(super) fn of(kind: &EventKind) -> Option<Self> {
        match kind {
            EventKind::Job(StateName::Queued) => Some(Self::Queued),
            EventKind::Job(StateName::Admitted) => Some(Self::Admitted),
            EventKind::Finish => Some(Self::Ended),
            _ => None,
        }
    }
}

impl History {
    pub(super) fn of(mut steps: Vec<(Timestamp, Step, JobId)>, jobs: HashMap<JobId, SimulatedJob>) -> Self {
        steps.sort();
        Self { steps, jobs }
    }

    /// Takes a sample whenever a job is admitted.
    pub(super) fn audit(&self, caps: &Caps) -> CapAudit {
        let mut audit = CapAudit::default();
        let mut running = HashMap::new();
        for (_, step, job) in &self.steps {
            match step {
                Step::Admitted => {
                    running.insert(job, &self.jobs[job]);
                    audit.add_sample(running.values().copied(), caps);
                }
                Step::Queued | Step::Ended => drop(running.remove(job)),
            }
        }
        audit
    }

    /// From stored to admitted, for every admitted job that `includes` accepts.
    pub(super) fn waits(&self, includes: impl Fn(&SimulatedJob) -> bool) -> Vec<Duration> {
        self.spans(Step::Queued, Step::Admitted, includes)
    }

    /// The time that jobs held slots, all slots together.
    pub(super) fn held(&self) -> Duration {
        self.spans(Step::Admitted, Step::Ended, |_| true).iter().sum()
    }

    /// How many jobs of each of `users` were admitted from the last submission on, until one of the users had no job
    /// waiting any more.
    pub(super) fn admissions(&self, users: usize) -> Vec<u32> {
        let mut waiting = vec![0_u32; users];
        for (_, step, job) in &self.steps {
            waiting[self.jobs[job].user] += u32::from(*step == Step::Queued);
        }
        let last_queued = self.steps.iter().rposition(|(_, step, _)| *step == Step::Queued).unwrap_or(0);
        let mut admissions = vec![0; users];
        for (index, (_, step, job)) in self.steps.iter().enumerate() {
            let user = self.jobs[job].user;
            if *step == Step::Admitted {
                admissions[user] += u32::from(index > last_queued);
                waiting[user] -= 1;
                if waiting[user] == 0 {
                    break;
                }
            }
        }
        admissions
    }

    fn spans(&self, from: Step, to: Step, includes: impl Fn(&SimulatedJob) -> bool) -> Vec<Duration> {
        let mut begun = HashMap::new();
        let mut spans = Vec::new();
        for (at, step, job) in self.steps.iter().filter(|(_, _, job)| includes(&self.jobs[job])) {
            if *step == from {
                begun.insert(job, *at);
            } else if *step == to
                && let Some(since) = begun.remove(job)
            {
                spans.push(Duration::try_from(at.duration_since(since)).unwrap_or_default());
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use mgx_scheduler::Kind;
    use uuid::Uuid;

    /// `(user, queued, admitted, ended)`, in milliseconds.
    fn history(rows: &[(usize, i64, i64, i64)]) -> History {
        let at = |millis| Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis);
        let (mut steps, mut jobs) = (Vec::new(), HashMap::new());
        for (number, (user, queued, admitted, ended)) in (1..).zip(rows) {
            let job = JobId(Uuid::from_u128(number));
            let (kind, hold) = (Kind::Build, Duration::ZERO);
            jobs.insert(job, SimulatedJob { user: *user, kind, memory_bytes: 100, hold });
            steps.extend([
                (at(*queued), Step::Queued, job),
                (at(*admitted), Step::Admitted, job),
                (at(*ended), Step::Ended, job),
            ]);
        }
        History::of(steps, jobs)
    }

    #[test]
    fn one_job_above_any_cap_is_counted() {
        let history = history(&[(0, 0, 0, 10), (0, 0, 5, 15), (1, 0, 10, 20)]);
        let violations = |caps: &Caps| history.audit(caps).violations;
        let host = |memory_bytes| mgx_scheduler::Budget { memory_bytes, ..mgx_scheduler::Budget::UNLIMITED };
        assert_eq!(violations(&Caps::of(2)), 0);
        assert_eq!(violations(&Caps::of(1)), 2);
        assert_eq!(violations(&Caps { per_user: 1, ..Caps::of(9) }), 1);
        assert_eq!(violations(&Caps { per_kind: [(Kind::Build, 1)].into(), ..Caps::of(9) }), 2);
        assert_eq!(violations(&Caps { host: host(200), ..Caps::of(9) }), 0);
        assert_eq!(violations(&Caps { host: host(199), ..Caps::of(9) }), 2);
    }

    #[test]
    fn waits_and_admissions_follow_from_the_log() {
        let history = history(&[(0, 0, 3, 10), (1, 1, 10, 12), (1, 1, 12, 14), (0, 2, 14, 15)]);
        let waits: Vec<_> = history.waits(|job| job.user == 1).iter().map(Duration::as_millis).collect();
        assert_eq!(waits, [9, 11]);
        assert_eq!(history.held(), Duration::from_millis(12));
        // after its second admission, user 1 has no job waiting
        assert_eq!(history.admissions(2), [1, 2]);
    }
}
