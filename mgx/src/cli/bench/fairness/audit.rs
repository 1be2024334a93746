//! Whether more ran than may, and what the journal says of who ran when. Pure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::{EventKind, JobId, StateName};
use mgx_scheduler::{Caps, Kind};

use super::orders::Order;

/// How often it was looked, and how often more ran than may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    pub(super) samples: u64,
    pub(super) violations: u64,
    pub(super) peak: Peak,
}

/// The most that was seen at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peak {
    pub(super) running: usize,
    pub(super) of_one_user: usize,
    pub(super) dev: usize,
    pub(super) build: usize,
    pub(super) memory_bytes: u64,
}

/// What the journal says.
#[derive(Debug)]
pub(super) struct Story {
    /// In the order of time.
    steps: Vec<(Timestamp, Step, JobId)>,
    orders: HashMap<JobId, Order>,
}

/// A job's way. What ends at a time ends before anything begins at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It holds no slot any more.
    Ended,
    /// It is stored.
    Queued,
    /// It holds a slot.
    Admitted,
}

impl Step {
    /// What an event says of it.
    pub(super) fn of(kind: &EventKind) -> Option<Self> {
        match kind {
            EventKind::Job(StateName::Queued) => Some(Self::Queued),
            EventKind::Job(StateName::Admitted) => Some(Self::Admitted),
            EventKind::Finish => Some(Self::Ended),
            _ => None,
        }
    }
}

impl Audit {
    /// Looks at what runs now.
    pub(super) fn look<'a>(&mut self, running: impl Iterator<Item = &'a Order>, caps: &Caps) {
        let running: Vec<_> = running.collect();
        let of_user = |order: &&Order| running.iter().filter(|other| other.user == order.user).count();
        let of_kind = |kind| running.iter().filter(|order| order.kind == kind).count();
        let peak = Peak {
            running: running.len(),
            of_one_user: running.iter().map(of_user).max().unwrap_or(0),
            dev: of_kind(Kind::Dev),
            build: of_kind(Kind::Build),
            memory_bytes: running.iter().map(|order| order.memory_bytes).sum(),
        };
        let cap_of = |kind| caps.per_kind.get(&kind).copied().unwrap_or(usize::MAX);
        let within = peak.running <= caps.running
            && peak.of_one_user <= caps.per_user
            && peak.dev <= cap_of(Kind::Dev)
            && peak.build <= cap_of(Kind::Build)
            && peak.memory_bytes <= caps.host.memory_bytes;
        self.add(&Self { samples: 1, violations: u64::from(!within), peak });
    }

    /// Adds what another has seen.
    pub(super) fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.violations += other.violations;
        let (mine, theirs) = (self.peak, other.peak);
        self.peak = Peak {
            running: mine.running.max(theirs.running),
            of_one_user: mine.of_one_user.max(theirs.of_one_user),
            dev: mine.dev.max(theirs.dev),
            build: mine.build.max(theirs.build),
            memory_bytes: mine.memory_bytes.max(theirs.memory_bytes),
        };
    }
}

impl Story {
    pub(super) fn of(mut steps: Vec<(Timestamp, Step, JobId)>, orders: HashMap<JobId, Order>) -> Self {
        steps.sort();
        Self { steps, orders }
    }

    /// Looks at every moment at which something begins to run.
    pub(super) fn audit(&self, caps: &Caps) -> Audit {
        let mut audit = Audit::default();
        let mut running = HashMap::new();
        for (_, step, job) in &self.steps {
            match step {
                Step::Admitted => {
                    running.insert(job, &self.orders[job]);
                    audit.look(running.values().copied(), caps);
                }
                Step::Queued | Step::Ended => drop(running.remove(job)),
            }
        }
        audit
    }

    /// From the time a job was stored to its turn, for every job that `is_asked` and had one.
    pub(super) fn waits(&self, is_asked: impl Fn(&Order) -> bool) -> Vec<Duration> {
        self.spans(Step::Queued, Step::Admitted, is_asked)
    }

    /// The time of all slots together that was used.
    pub(super) fn held(&self) -> Duration {
        self.spans(Step::Admitted, Step::Ended, |_| true).iter().sum()
    }

    /// How often it was the turn of each of `users`, while all of them waited for one.
    pub(super) fn turns(&self, users: usize) -> Vec<u32> {
        let mut waiting = vec![0_u32; users];
        for (_, step, job) in &self.steps {
            waiting[self.orders[job].user] += u32::from(*step == Step::Queued);
        }
        let last_came = self.steps.iter().rposition(|(_, step, _)| *step == Step::Queued).unwrap_or(0);
        let mut turns = vec![0; users];
        for (index, (_, step, job)) in self.steps.iter().enumerate() {
            let user = self.orders[job].user;
            if *step == Step::Admitted {
                turns[user] += u32::from(index > last_came);
                waiting[user] -= 1;
                if waiting[user] == 0 {
                    break;
                }
            }
        }
        turns
    }

    fn spans(&self, from: Step, to: Step, is_asked: impl Fn(&Order) -> bool) -> Vec<Duration> {
        let mut begun = HashMap::new();
        let mut spans = Vec::new();
        for (at, step, job) in self.steps.iter().filter(|(_, _, job)| is_asked(&self.orders[job])) {
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
    use uuid::Uuid;

    /// `(user, queued, admitted, ended)`, in milliseconds.
    fn story(jobs: &[(usize, i64, i64, i64)]) -> Story {
        let at = |millis| Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis);
        let (mut steps, mut orders) = (Vec::new(), HashMap::new());
        for (number, (user, queued, admitted, ended)) in (1..).zip(jobs) {
            let job = JobId(Uuid::from_u128(number));
            let (kind, hold) = (Kind::Build, Duration::ZERO);
            orders.insert(job, Order { user: *user, kind, memory_bytes: 100, hold });
            steps.extend([
                (at(*queued), Step::Queued, job),
                (at(*admitted), Step::Admitted, job),
                (at(*ended), Step::Ended, job),
            ]);
        }
        Story::of(steps, orders)
    }

    #[test]
    fn one_job_too_many_is_noticed_whatever_the_cap() {
        let seen = story(&[(0, 0, 0, 10), (0, 0, 5, 15), (1, 0, 10, 20)]);
        let violations = |caps: &Caps| seen.audit(caps).violations;
        let host = |memory_bytes| mgx_scheduler::Budget { memory_bytes, ..mgx_scheduler::Budget::UNLIMITED };
        assert_eq!(violations(&Caps::of(2)), 0);
        assert_eq!(violations(&Caps::of(1)), 2);
        assert_eq!(violations(&Caps { per_user: 1, ..Caps::of(9) }), 1);
        assert_eq!(violations(&Caps { per_kind: [(Kind::Build, 1)].into(), ..Caps::of(9) }), 2);
        assert_eq!(violations(&Caps { host: host(200), ..Caps::of(9) }), 0);
        assert_eq!(violations(&Caps { host: host(199), ..Caps::of(9) }), 2);
    }

    #[test]
    fn waits_and_turns_are_what_the_journal_says() {
        let seen = story(&[(0, 0, 3, 10), (1, 1, 10, 12), (1, 1, 12, 14), (0, 2, 14, 15)]);
        let waits: Vec<_> = seen.waits(|order| order.user == 1).iter().map(Duration::as_millis).collect();
        assert_eq!(waits, [9, 11]);
        assert_eq!(seen.held(), Duration::from_millis(12));
        // after its second turn, user 1 has nothing left to wait for
        assert_eq!(seen.turns(2), [1, 2]);
    }
}
