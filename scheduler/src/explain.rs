//! Why a job is where it is: what it waits for, who holds that, how long it will be, and what would help.

use serde::Serialize;

use crate::job::{Job, State};
use crate::pace::Estimate;
use crate::slots::Standing;
use crate::usage::Binding;

/// Why a job is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// How many jobs go before it, if it stands in line.
    pub ahead: Option<usize>,
    /// Milliseconds until its turn, by the run times seen so far.
    pub eta_ms: Option<u64>,
    /// How far off that may be, in milliseconds, as the run times seen so far have differed.
    pub eta_error_ms: Option<u64>,
    /// What keeps it from running even if it were its turn.
    pub binding: Option<Binding>,
    /// The cheapest change that would start it now, for people.
    pub remedy: Option<String>,
}

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// The time it is to begin at.
    StartTime,
    /// The pause before its next try.
    Retry,
    /// Its turn: others go first.
    Turn,
    /// A limit that is reached.
    Limit,
    /// The container engine: it is away, or has not said yet what is there.
    Engine,
    /// Its container.
    Container,
    /// Its command to end: it runs.
    Command,
    /// Its processes to be gone.
    Stop,
    /// Nothing: it has ended.
    Nothing,
}

/// Explains a job, given where it stands in line and how long others take.
pub(crate) fn explain(
    job: &Job,
    standing: Option<Standing>,
    estimate: Option<Estimate>,
    is_early: bool,
    is_held: bool,
) -> Explanation {
    let waits_for = match (job.state, &standing) {
        (State::Queued, None) if is_early => WaitsFor::StartTime,
        (State::Queued, Some(_)) | (State::Admitted | State::Starting, _) if is_held => WaitsFor::Engine,
        (State::Queued, None) => WaitsFor::Retry,
        (State::Queued, Some(Standing { binding: Some(_), ahead: 0 })) => WaitsFor::Limit,
        (State::Queued, Some(_)) => WaitsFor::Turn,
        (State::Admitted | State::Starting, _) => WaitsFor::Container,
        (State::Running, _) => WaitsFor::Command,
        (State::Stopping(_), _) => WaitsFor::Stop,
        (State::Ended(_), _) => WaitsFor::Nothing,
    };
    let (ahead, binding) =
        standing.map_or((None, None), |Standing { ahead, binding }| (Some(ahead), binding));
    let remedy = remedy(waits_for, binding.as_ref());
    Explanation {
        waits_for,
        ahead,
        eta_ms: ahead.and(estimate).map(|estimate| estimate.ms),
        eta_error_ms: ahead.and(estimate).map(|estimate| estimate.error_ms),
        binding,
        remedy,
    }
}

fn remedy(waits_for: WaitsFor, binding: Option<&Binding>) -> Option<String> {
    match (waits_for, binding) {
        (WaitsFor::StartTime, _) => Some("submit it without start_at".to_owned()),
        (WaitsFor::Engine, _) => {
            Some("start the container engine; `mgx doctor` says what is wrong with it".to_owned())
        }
        (WaitsFor::Turn | WaitsFor::Limit, Some(binding)) => Some(match binding.holders.first() {
            Some(holder) => format!("cancel {holder}, or raise {} above {}", binding.limit, binding.max),
            None => format!(
                "ask for less than {}, or raise {} above {}",
                binding.asked, binding.limit, binding.max
            ),
        }),
        (
            WaitsFor::Retry
            | WaitsFor::Turn
            | WaitsFor::Limit
            | WaitsFor::Container
            | WaitsFor::Command
            | WaitsFor::Stop
            | WaitsFor::Nothing,
            _,
        ) => None,
    }
}
