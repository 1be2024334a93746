//! A job of a scenario, with everything that will happen to it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mgx_protocol::ReportedResult;
use mgx_protocol::{JobId, SessionId, StateName};
use mgx_runtimes::RuntimeErrorKind;
use mgx_runtimes::fake::{Act, Creation, OnStop, Script};
use mgx_scheduler::{Group, Retry, SchedulingOptions, Strategy};
use uuid::Uuid;

use mgx_testkit::SeededRandom;

/// A job, with everything that will happen to it.
#[derive(Clone, Debug)]
pub(crate) struct PlannedJob {
    pub(crate) id: JobId,
    pub(crate) session: SessionId,
    pub(crate) user: String,
    pub(crate) submitted: Duration,
    pub(crate) cancelled: Option<Duration>,
    /// When the platform records an event of its own for the job, if it runs.
    pub(crate) noted: Vec<Duration>,
    pub(crate) timeout_s: u32,
    pub(crate) options: SchedulingOptions,
    pub(crate) creations: Vec<Creation>,
    pub(crate) script: Script,
}

impl PlannedJob {
    pub(crate) fn of(random: &mut SeededRandom, n: u32) -> Self {
        let creations = match random.below(10) {
            0 => vec![Creation::Fails(random.up_to_millis(500), RuntimeErrorKind::ImageMissing)],
            1 => vec![Creation::Fails(random.up_to_millis(500), RuntimeErrorKind::NotReady)],
            2 => vec![
                Creation::Fails(random.up_to_millis(500), RuntimeErrorKind::Unavailable),
                Creation::FailsButExists(random.up_to_millis(30_000), RuntimeErrorKind::Deadline),
                Creation::Ready(random.up_to_millis(500)),
            ],
            // there at once, as from a warm pool
            3..5 => vec![Creation::Ready(Duration::ZERO)],
            _ => vec![Creation::Ready(random.up_to_millis(800))],
        };
        Self {
            id: JobId(Uuid::from_u128(u128::from(n))),
            session: format!("session-{}", random.below(4)).parse().expect("a session id"),
            user: format!("user-{}", random.below(3)),
            submitted: random.up_to_millis(60_000),
            cancelled: random.chance(20).then(|| random.up_to_millis(90_000)),
            noted: (0..random.below(8)).map(|_| random.up_to_millis(90_000)).collect(),
            timeout_s: 5 + random.below(60),
            options: options(random),
            creations,
            script: script(random),
        }
    }

    /// The state in which the job ends, or `None` if that depends on more than its script.
    pub(crate) fn expected_end(&self, slack: Duration) -> Option<StateName> {
        let SchedulingOptions { group, queue_ttl_s, retry, .. } = &self.options;
        let undisturbed = self.cancelled.is_none()
            && matches!(self.creations[..], [Creation::Ready(_)])
            && group.is_none()
            && queue_ttl_s.is_none()
            && retry.times == 0;
        let time: Duration = self.script.acts.iter().map(|(pause, _)| *pause).sum();
        let in_time = time + slack < Duration::from_secs(self.timeout_s.into());
        let (_, last) = self.script.acts.last()?;
        if !undisturbed || !in_time {
            return None;
        }
        Some(match last {
            Act::Exit { reported: Some(reported), .. } => {
                if reported.success {
                    StateName::Succeeded
                } else {
                    StateName::Failed
                }
            }
            Act::Exit { code: 0, .. } => StateName::Succeeded,
            Act::Exit { .. } | Act::Die(_) => StateName::Failed,
            Act::Say(_) => StateName::TimedOut,
        })
    }
}

fn options(random: &mut SeededRandom) -> SchedulingOptions {
    let strategies = [Strategy::Queue, Strategy::CancelInProgress, Strategy::CancelNewest];
    let group = |random: &mut SeededRandom| Group {
        key: format!("group-{}", random.below(2)),
        strategy: strategies[random.below(3) as usize],
    };
    let start_at = |random: &mut SeededRandom| {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(random.below(120).into())
    };
    SchedulingOptions {
        priority: u8::try_from(random.below(10)).expect("a digit"),
        group: random.chance(25).then(|| group(random)),
        start_at: random.chance(10).then(|| start_at(random)),
        queue_ttl_s: random.chance(15).then(|| 1 + random.below(60)),
        retry: if random.chance(20) {
            Retry { times: 1 + random.below(3), backoff_s: random.below(5) }
        } else {
            Retry::default()
        },
    }
}

fn script(random: &mut SeededRandom) -> Script {
    let mut acts: Vec<_> =
        (0..random.below(12)).map(|n| (random.up_to_millis(3_000), Act::Say(format!("word {n}")))).collect();
    if random.chance(80) {
        let reported = match random.below(4) {
            0 => Some(ReportedResult { success: true, error: None, resume_after_s: None }),
            1 => Some(ReportedResult {
                success: false,
                error: Some("the model said no".to_owned()),
                resume_after_s: None,
            }),
            _ => None,
        };
        let act = match random.below(8) {
            0 => Act::Die(137),
            1 => Act::Exit { code: 3, oom_kills: 0, reported },
            2 => Act::Exit { code: 137, oom_kills: 1, reported: None },
            3 => Act::Exit { code: 0, oom_kills: 1, reported },
            _ => Act::Exit { code: 0, oom_kills: 0, reported },
        };
        acts.push((random.up_to_millis(2_000), act));
    }
    let on_stop = match random.below(4) {
        0 => OnStop::Ignores,
        1 => OnStop::Hangs,
        _ => OnStop::Ends(random.up_to_millis(6_000)),
    };
    Script { acts, on_stop }
}
