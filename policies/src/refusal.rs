//! Why a job was not admitted: the limit, what it is, what is used of it, and when to try again.

pub(crate) mod log;

use std::time::Duration;

use mgx_scheduler::{LimitKey, QueueScope, Rejection};

use crate::limits::{LlmResource, TimeLimit};

/// Why a job was not admitted. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It runs or waits longer than a job may.
    #[error("{} of {asked_s} s is more than a job may have, {max_s} s", .limit.name())]
    TooLong {
        /// Which of its times.
        limit: TimeLimit,
        /// Seconds that it asks for.
        asked_s: u32,
        /// Seconds that it may ask for.
        max_s: u32,
    },
    /// It asks for more than there is, and would wait for ever.
    #[error("the job asks for {asked}, and {limit} is {max}: it could never run")]
    NeverFits {
        /// The limit, by its key in the configuration.
        limit: &'static str,
        /// What it asks for.
        asked: u64,
        /// What there is.
        max: u64,
    },
    /// Its session has used up what it may use of the model.
    #[error("the session's budget is used up: {} is {}, used are {}", .of.limit(), .of.show(*.max), .of.show(*.used))]
    BudgetSpent {
        /// Of what; costs are in millionths of the operator's unit.
        of: LlmResource,
        /// What the session has used.
        used: u64,
        /// What it may use.
        max: u64,
    },
    /// Its user submits jobs too fast.
    #[error("more than {burst} jobs at once; there are {per_minute} more in a minute")]
    TooFast {
        /// Jobs that a user may submit in a minute, in the long run.
        per_minute: u32,
        /// Jobs that a user may submit at once.
        burst: u32,
        /// When the next job may come.
        retry_after: Duration,
    },
    /// So many users have submitted jobs lately that the rate of no other one can be counted.
    #[error("more than {max} users submit jobs")]
    TooManyUsers {
        /// How many can.
        max: usize,
        /// When it may have become quieter.
        retry_after: Duration,
    },
    /// The scheduler does not take it.
    #[error(transparent)]
    Scheduler(#[from] Rejection),
}

/// Every limit that a refusal or an explanation can name, by its key in the configuration.
pub fn limit_keys() -> Vec<&'static str> {
    let times = [TimeLimit::Run, TimeLimit::Wait].map(TimeLimit::key);
    let llm = [LlmResource::Requests, LlmResource::Tokens, LlmResource::Cost].map(LlmResource::limit);
    let queue = [QueueScope::Everyone, QueueScope::User].map(queue_key);
    let running = LimitKey::ALL.into_iter().filter_map(LimitKey::config_key);
    running.chain(times).chain(llm).chain(queue).chain([RATE_BURST]).collect()
}

/// The key of the limit on the jobs that a user may submit at once.
const RATE_BURST: &str = "rate.burst";

/// A limit that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitHit {
    /// The limit, by its key in the configuration.
    pub limit: &'static str,
    /// What is used of it, or was asked for; costs are in millionths of the operator's unit.
    pub used: u64,
    /// What it is.
    pub max: u64,
}

impl Refusal {
    /// The name of the policy that refused.
    pub fn policy(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "timeout",
            Self::NeverFits { .. } => "fit",
            Self::BudgetSpent { .. } => "budget",
            Self::TooFast { .. } | Self::TooManyUsers { .. } => "rate",
            Self::Scheduler(rejection) => match rejection {
                Rejection::QueueFull { .. } => "queue",
                Rejection::GroupBusy { .. } => "group",
                Rejection::Draining => "draining",
                Rejection::Journal(_) => "store",
            },
        }
    }

    /// The limit that was met, if it is one of the configuration.
    pub fn hit(&self) -> Option<LimitHit> {
        let hit = |limit, used, max| Some(LimitHit { limit, used, max });
        match self {
            Self::TooLong { limit, asked_s, max_s } => hit(limit.key(), (*asked_s).into(), (*max_s).into()),
            Self::NeverFits { limit, asked, max } => hit(limit, *asked, *max),
            Self::BudgetSpent { of, used, max } => hit(of.limit(), *used, *max),
            Self::TooFast { burst, .. } => hit(RATE_BURST, (*burst).into(), (*burst).into()),
            Self::Scheduler(Rejection::QueueFull { scope, limit, used, .. }) => {
                hit(queue_key(*scope), *used as u64, *limit as u64)
            }
            // the number of users is no setting of the operator
            Self::TooManyUsers { .. }
            | Self::Scheduler(Rejection::GroupBusy { .. } | Rejection::Draining | Rejection::Journal(_)) => {
                None
            }
        }
    }

    /// When to try again, if time helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooFast { retry_after, .. }
            | Self::TooManyUsers { retry_after, .. }
            | Self::Scheduler(Rejection::QueueFull { retry_after, .. }) => Some(*retry_after),
            Self::TooLong { .. }
            | Self::NeverFits { .. }
            | Self::BudgetSpent { .. }
            | Self::Scheduler(Rejection::GroupBusy { .. } | Rejection::Draining | Rejection::Journal(_)) => {
                None
            }
        }
    }
}

fn queue_key(scope: QueueScope) -> &'static str {
    match scope {
        QueueScope::Everyone | QueueScope::EveryoneLater => "queue.max_queued",
        QueueScope::User | QueueScope::UserLater => "queue.max_queued_per_user",
    }
}
