//! What happens to each unfinished job and each container after a restart. Pure.
//!
//! | The journal holds | its container | so |
//! |---|---|---|
//! | running, stopping | runs | [`Reattach`](RecoveryAction::Reattach) |
//! | running, stopping | has ended | [`Finalise`](RecoveryAction::Finalise) |
//! | running, stopping | is not there | [`Lost`](RecoveryAction::Lost): failed, or retried if that was agreed |
//! | admitted, starting | any or none | [`StartOver`](RecoveryAction::StartOver), and [`Clear`](RecoveryAction::Clear) it |
//! | queued | none | [`KeepWaiting`](RecoveryAction::KeepWaiting) |
//! | queued | any: its start was not written before the crash | the same, and [`Clear`](RecoveryAction::Clear) it |
//! | any | of another attempt | [`Clear`](RecoveryAction::Clear) it |
//! | nothing, or its end | any | [`Destroy`](RecoveryAction::Destroy) it, after a grace period |
//! | – | not this platform's | never listed, never touched |

use std::collections::BTreeMap;

use mgx_protocol::{Attempt, JobId, SlotId};
use mgx_runtimes::Listed;

use crate::job::Job;
use crate::job::state::State;

/// What happens to an unfinished job, or to a container that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecoveryAction {
    /// Its command runs: the job's task reattaches to it.
    Reattach(JobId),
    /// Its container has ended meanwhile: the job's task reattaches to it and learns how.
    Finalise(JobId),
    /// Its command ran, and its container is not there.
    Lost(JobId),
    /// Its container was being created: it gets another one, as the next attempt.
    StartOver(JobId),
    /// It waits as before.
    KeepWaiting(JobId),
    /// A container in which nothing may run any more is removed before any slot is granted.
    Clear(SlotId),
    /// A container without an unfinished job is removed after a grace period.
    Destroy(SlotId),
}

/// As much of an unfinished job as the decision needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnfinishedJob {
    job: JobId,
    attempt: Attempt,
    state: State,
}

impl UnfinishedJob {
    pub(crate) fn of(job: &Job) -> Self {
        Self { job: job.id, attempt: job.attempt, state: job.state }
    }
}

/// Decides about every unfinished job and every container that was found.
pub(crate) fn plan(unfinished: &[UnfinishedJob], found: &[Listed]) -> Vec<RecoveryAction> {
    let mut actions = Vec::new();
    let mut of_jobs: BTreeMap<JobId, Vec<&Listed>> = BTreeMap::new();
    for container in found {
        match job_of(&container.slot) {
            Some(job) => of_jobs.entry(job).or_default().push(container),
            None => actions.push(RecoveryAction::Destroy(container.slot.clone())),
        }
    }
    for UnfinishedJob { job, attempt, state } in unfinished {
        let containers = of_jobs.remove(job).unwrap_or_default();
        let current = if containers.is_empty() { None } else { Some(SlotId::of(*job, *attempt)) };
        let (own, others): (Vec<_>, Vec<_>) =
            containers.into_iter().partition(|container| Some(&container.slot) == current.as_ref());
        let own = own.first().copied();
        let clear = |container: &Listed| RecoveryAction::Clear(container.slot.clone());
        actions.extend(others.into_iter().map(clear));
        match (state, own) {
            (State::Queued, own) => {
                actions.extend(own.map(clear));
                actions.push(RecoveryAction::KeepWaiting(*job));
            }
            (State::Admitted | State::Starting, own) => {
                actions.extend(own.map(clear));
                actions.push(RecoveryAction::StartOver(*job));
            }
            (State::Running | State::Stopping(_), Some(own)) if own.running => {
                actions.push(RecoveryAction::Reattach(*job));
            }
            (State::Running | State::Stopping(_), Some(_)) => actions.push(RecoveryAction::Finalise(*job)),
            (State::Running | State::Stopping(_), None) => actions.push(RecoveryAction::Lost(*job)),
            (State::Ended(_), own) => {
                actions.extend(own.map(|own| RecoveryAction::Destroy(own.slot.clone())));
            }
        }
    }
    let without_job = of_jobs.into_values().flatten();
    actions.extend(without_job.map(|container| RecoveryAction::Destroy(container.slot.clone())));
    actions
}

/// The job in whose name the container was created.
fn job_of(slot: &SlotId) -> Option<JobId> {
    slot.as_str().rsplit_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::state::Outcome;
    use uuid::Uuid;

    fn job(n: u128) -> JobId {
        JobId(Uuid::from_u128(n))
    }

    fn unfinished(n: u128, attempt: u32, state: State) -> UnfinishedJob {
        UnfinishedJob { job: job(n), attempt: Attempt(attempt), state }
    }

    fn container(n: u128, attempt: u32, running: bool) -> Listed {
        Listed { slot: SlotId::of(job(n), Attempt(attempt)), running }
    }

    fn slot(n: u128, attempt: u32) -> SlotId {
        SlotId::of(job(n), Attempt(attempt))
    }

    #[test]
    fn every_row_of_the_table() {
        use RecoveryAction::{Clear, Destroy, Finalise, KeepWaiting, Lost, Reattach, StartOver};
        let stopping = State::Stopping(Outcome::Cancelled);
        let none: &[Listed] = &[];
        let [up, down] = [true, false].map(|running| [container(1, 1, running)]);
        let rows: [(State, &[Listed], Vec<RecoveryAction>); 18] = [
            (State::Queued, none, vec![KeepWaiting(job(1))]),
            (State::Queued, &up, vec![Clear(slot(1, 1)), KeepWaiting(job(1))]),
            (State::Queued, &down, vec![Clear(slot(1, 1)), KeepWaiting(job(1))]),
            (State::Admitted, none, vec![StartOver(job(1))]),
            (State::Admitted, &up, vec![Clear(slot(1, 1)), StartOver(job(1))]),
            (State::Admitted, &down, vec![Clear(slot(1, 1)), StartOver(job(1))]),
            (State::Starting, none, vec![StartOver(job(1))]),
            (State::Starting, &up, vec![Clear(slot(1, 1)), StartOver(job(1))]),
            (State::Starting, &down, vec![Clear(slot(1, 1)), StartOver(job(1))]),
            (State::Running, none, vec![Lost(job(1))]),
            (State::Running, &up, vec![Reattach(job(1))]),
            (State::Running, &down, vec![Finalise(job(1))]),
            (stopping, none, vec![Lost(job(1))]),
            (stopping, &up, vec![Reattach(job(1))]),
            (stopping, &down, vec![Finalise(job(1))]),
            (State::Ended(Outcome::Succeeded), none, vec![]),
            (State::Ended(Outcome::Succeeded), &up, vec![Destroy(slot(1, 1))]),
            (State::Ended(Outcome::Succeeded), &down, vec![Destroy(slot(1, 1))]),
        ];
        for (state, found, actions) in rows {
            assert_eq!(plan(&[unfinished(1, 1, state)], found), actions, "{state:?} {found:?}");
        }
    }

    #[test]
    fn a_container_of_another_attempt_goes_before_the_next_one_starts() {
        for state in [State::Queued, State::Starting, State::Running] {
            let found = [container(1, 1, true), container(1, 2, true), container(1, 3, false)];
            let actions = plan(&[unfinished(1, 2, state)], &found);
            assert!(actions.contains(&RecoveryAction::Clear(slot(1, 1))), "{actions:?}");
            assert!(actions.contains(&RecoveryAction::Clear(slot(1, 3))), "{actions:?}");
            let own = actions.contains(&RecoveryAction::Clear(slot(1, 2)));
            assert_eq!(own, state != State::Running, "{actions:?}");
        }
    }

    #[test]
    fn a_container_without_an_unfinished_job_is_destroyed_and_each_is_decided_once() {
        let nobodys: SlotId = "left-by-hand".parse().unwrap();
        let mut found: Vec<_> = (1..=4).map(|n| container(n, 1, n % 2 == 0)).collect();
        found.push(Listed { slot: nobodys.clone(), running: true });
        let jobs = [unfinished(2, 1, State::Running), unfinished(3, 1, State::Running)];
        let actions = plan(&jobs, &found);
        assert_eq!(
            actions,
            [
                RecoveryAction::Destroy(nobodys),
                RecoveryAction::Reattach(job(2)),
                RecoveryAction::Finalise(job(3)),
                RecoveryAction::Destroy(slot(1, 1)),
                RecoveryAction::Destroy(slot(4, 1)),
            ]
        );
    }
}
