//! One job of a scenario, and what is going to happen to it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mgx_protocol::ReportedResult;
use mgx_protocol::{JobId, SessionId, StateName};
use mgx_runtimes::RuntimeErrorKind;
use mgx_runtimes::fake::{Act, Birth, OnStop, Script};
use mgx_scheduler::{Group, Retry, Strategy, Terms};
use uuid::Uuid;

use crate::rng::Rng;

/// One job, and what is going to happen to it.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) id: JobId,
    pub(crate) session: SessionId,
    pub(crate) user: String,
    pub(crate) submitted: Duration,
    pub(crate) cancelled: Option<Duration>,
    /// When the platform notes something of its own for it, if it runs.
    pub(crate) noted: Vec<Duration>,
    pub(crate) timeout_s: u32,
    pub(crate) terms: Terms,
    pub(crate) births: Vec<Birth>,
    pub(crate) script: Script,
}

impl Fate {
    pub(crate) fn of(rng: &mut Rng, n: u32) -> Self {
        let births = match rng.below(10) {
            0 => vec![Birth::Fails(rng.millis(500), RuntimeErrorKind::ImageMissing)],
            1 => vec![Birth::Fails(rng.millis(500), RuntimeErrorKind::NotReady)],
            2 => vec![
                Birth::Fails(rng.millis(500), RuntimeErrorKind::Unavailable),
                Birth::FailsButIsThere(rng.millis(30_000), RuntimeErrorKind::Deadline),
                Birth::Ready(rng.millis(500)),
            ],
            // there at once, as from a warm pool
            3..5 => vec![Birth::Ready(Duration::ZERO)],
            _ => vec![Birth::Ready(rng.millis(800))],
        };
        Self {
            id: JobId(Uuid::from_u128(u128::from(n))),
            session: format!("session-{}", rng.below(4)).parse().expect("a session id"),
            user: format!("user-{}", rng.below(3)),
            submitted: rng.millis(60_000),
            cancelled: rng.chance(20).then(|| rng.millis(90_000)),
            noted: (0..rng.below(8)).map(|_| rng.millis(90_000)).collect(),
            timeout_s: 5 + rng.below(60),
            terms: terms(rng),
            births,
            script: script(rng),
        }
    }

    /// How it ends if nobody interferes, or `None` if that depends on more than its script.
    pub(crate) fn destiny(&self, slack: Duration) -> Option<StateName> {
        let Terms { group, queue_ttl_s, retry, .. } = &self.terms;
        let undisturbed = self.cancelled.is_none()
            && matches!(self.births[..], [Birth::Ready(_)])
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

fn terms(rng: &mut Rng) -> Terms {
    let strategies = [Strategy::Queue, Strategy::CancelInProgress, Strategy::CancelNewest];
    let group = |rng: &mut Rng| Group {
        key: format!("group-{}", rng.below(2)),
        strategy: strategies[rng.below(3) as usize],
    };
    let start_at = |rng: &mut Rng| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(rng.below(120).into());
    Terms {
        priority: u8::try_from(rng.below(10)).expect("a digit"),
        group: rng.chance(25).then(|| group(rng)),
        start_at: rng.chance(10).then(|| start_at(rng)),
        queue_ttl_s: rng.chance(15).then(|| 1 + rng.below(60)),
        retry: if rng.chance(20) {
            Retry { times: 1 + rng.below(3), backoff_s: rng.below(5) }
        } else {
            Retry::default()
        },
    }
}

fn script(rng: &mut Rng) -> Script {
    let mut acts: Vec<_> =
        (0..rng.below(12)).map(|n| (rng.millis(3_000), Act::Say(format!("word {n}")))).collect();
    if rng.chance(80) {
        let reported = match rng.below(4) {
            0 => Some(ReportedResult { success: true, error: None }),
            1 => Some(ReportedResult { success: false, error: Some("the model said no".to_owned()) }),
            _ => None,
        };
        let act = match rng.below(8) {
            0 => Act::Die(137),
            1 => Act::Exit { code: 3, oom_kills: 0, reported },
            2 => Act::Exit { code: 137, oom_kills: 1, reported: None },
            3 => Act::Exit { code: 0, oom_kills: 1, reported },
            _ => Act::Exit { code: 0, oom_kills: 0, reported },
        };
        acts.push((rng.millis(2_000), act));
    }
    let on_stop = match rng.below(4) {
        0 => OnStop::Ignores,
        1 => OnStop::Hangs,
        _ => OnStop::Ends(rng.millis(6_000)),
    };
    Script { acts, on_stop }
}
