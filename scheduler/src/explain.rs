//! Why a job is in its state: what it waits for, which jobs hold that, how long it may take, and what would help.

use mgx_protocol::Attempt;
use serde::Serialize;

use crate::job::state::State;
use crate::job::{Job, ProviderWait};
use crate::queue::limit_key::LimitKey;
use crate::queue::run_time::Estimate;
use crate::queue::slots::Standing;
use crate::queue::usage::BlockingLimit;

/// Why a job is in its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// How many jobs go before it, if it is in the queue.
    pub ahead: Option<usize>,
    /// Milliseconds until it is granted a slot, by the run times seen so far.
    pub eta_ms: Option<u64>,
    /// How far off that may be, in milliseconds, as the run times seen so far have differed.
    pub eta_error_ms: Option<u64>,
    /// The limit that would keep it from running even if it were the first.
    pub binding: Option<BlockingLimit>,
    /// The cheapest change that would start it now, for people.
    pub remedy: Option<String>,
    /// The wait for its model's provider, if it waits for that.
    pub provider: Option<ProviderWait>,
}

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// The time it is to begin at.
    StartTime,
    /// The pause before its next try.
    Retry,
    /// Its model's provider, which is away; it holds no slot meanwhile.
    Provider,
    /// Its turn: other jobs go first.
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

/// Explains a job, given where it stands in the queue and how long other jobs take.
pub(crate) fn explain(
    job: &Job,
    standing: Option<Standing>,
    estimate: Option<Estimate>,
    is_early: bool,
    is_paused: bool,
) -> Explanation {
    let waits_for = match (job.state, &standing) {
        (State::Queued, None) if is_early && job.provider_wait.is_some() => WaitsFor::Provider,
        (State::Queued, None) if is_early => WaitsFor::StartTime,
        (State::Queued, Some(_)) | (State::Admitted | State::Starting, _) if is_paused => WaitsFor::Engine,
        // its turn has just come, and the journal does not say so yet
        (State::Queued, None) if job.attempt == Attempt(1) => WaitsFor::Container,
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
    let provider = job.provider_wait.clone().filter(|_| waits_for == WaitsFor::Provider);
    Explanation {
        waits_for,
        ahead,
        eta_ms: ahead.and(estimate).map(|estimate| estimate.ms),
        eta_error_ms: ahead.and(estimate).map(|estimate| estimate.error_ms),
        binding,
        remedy,
        provider,
    }
}

fn remedy(waits_for: WaitsFor, binding: Option<&BlockingLimit>) -> Option<String> {
    match (waits_for, binding) {
        (WaitsFor::StartTime, _) => Some("submit it without start_at".to_owned()),
        (WaitsFor::Provider, _) => Some(
            "wait, or cancel it and go on later with `mgx continue`; `mgx doctor` asks the provider"
                .to_owned(),
        ),
        (WaitsFor::Engine, _) => {
            Some("start the container engine; `mgx doctor` says what is wrong with it".to_owned())
        }
        (WaitsFor::Turn | WaitsFor::Limit, Some(binding)) => Some(for_limit(binding)),
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

/// What frees a limit, or raises it.
fn for_limit(binding: &BlockingLimit) -> String {
    let BlockingLimit { limit, used: _, asked, max, holders, leftovers } = binding;
    if asked > max {
        return format!(
            "it asks for {asked}, and {limit} is {max}: raise that to {asked}, or cancel the job and ask for less"
        );
    }
    match (holders.first(), leftovers.first()) {
        (Some(holder), _) if *limit == LimitKey::Group => {
            format!("cancel {holder}, or submit it without a group")
        }
        (Some(holder), _) => format!("cancel {holder}, or raise {limit} above {max}"),
        (None, Some(leftover)) => format!(
            "remove the container of the job {leftover} at the engine: the job has ended, and the engine refuses to remove \
             its container; `mgx doctor` says what is wrong with the engine"
        ),
        (None, None) => format!("ask for less than {asked}, or raise {limit} above {max}"),
    }
}
