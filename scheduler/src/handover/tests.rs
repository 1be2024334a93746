//! What is found is told apart, and nothing is destroyed that may be somebody's.

use super::*;
use crate::job::Outcome;
use uuid::Uuid;

fn job(n: u128) -> JobId {
    JobId(Uuid::from_u128(n))
}

fn left(n: u128, attempt: u32, state: State) -> Left {
    Left { job: job(n), attempt: Attempt(attempt), state }
}

fn container(n: u128, attempt: u32, running: bool) -> Listed {
    Listed { slot: SlotId::of(job(n), Attempt(attempt)), running }
}

fn slot(n: u128, attempt: u32) -> SlotId {
    SlotId::of(job(n), Attempt(attempt))
}

#[test]
fn every_row_of_the_boot_table() {
    use Decision::{Clear, Destroy, Finalise, LeaveAlone, Lost, Reattach, StartAgain};
    let stopping = State::Stopping(Outcome::Cancelled);
    let none: &[Listed] = &[];
    let [up, down] = [true, false].map(|running| [container(1, 1, running)]);
    let rows: [(State, &[Listed], Vec<Decision>); 18] = [
        (State::Queued, none, vec![LeaveAlone(job(1))]),
        (State::Queued, &up, vec![Clear(slot(1, 1)), LeaveAlone(job(1))]),
        (State::Queued, &down, vec![Clear(slot(1, 1)), LeaveAlone(job(1))]),
        (State::Admitted, none, vec![StartAgain(job(1))]),
        (State::Admitted, &up, vec![Clear(slot(1, 1)), StartAgain(job(1))]),
        (State::Admitted, &down, vec![Clear(slot(1, 1)), StartAgain(job(1))]),
        (State::Starting, none, vec![StartAgain(job(1))]),
        (State::Starting, &up, vec![Clear(slot(1, 1)), StartAgain(job(1))]),
        (State::Starting, &down, vec![Clear(slot(1, 1)), StartAgain(job(1))]),
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
    for (state, found, decisions) in rows {
        assert_eq!(plan(&[left(1, 1, state)], found), decisions, "{state:?} {found:?}");
    }
}

#[test]
fn a_container_of_another_attempt_goes_before_the_next_one_starts() {
    for state in [State::Queued, State::Starting, State::Running] {
        let found = [container(1, 1, true), container(1, 2, true), container(1, 3, false)];
        let decisions = plan(&[left(1, 2, state)], &found);
        assert!(decisions.contains(&Decision::Clear(slot(1, 1))), "{decisions:?}");
        assert!(decisions.contains(&Decision::Clear(slot(1, 3))), "{decisions:?}");
        let own = decisions.contains(&Decision::Clear(slot(1, 2)));
        assert_eq!(own, state != State::Running, "{decisions:?}");
    }
}

#[test]
fn what_no_unfinished_job_has_is_destroyed_and_each_container_is_decided_once() {
    let nobodys: SlotId = "left-by-hand".parse().unwrap();
    let mut found: Vec<_> = (1..=4).map(|n| container(n, 1, n % 2 == 0)).collect();
    found.push(Listed { slot: nobodys.clone(), running: true });
    let left = [left(2, 1, State::Running), left(3, 1, State::Running)];
    let decisions = plan(&left, &found);
    assert_eq!(
        decisions,
        [
            Decision::Destroy(nobodys),
            Decision::Reattach(job(2)),
            Decision::Finalise(job(3)),
            Decision::Destroy(slot(1, 1)),
            Decision::Destroy(slot(4, 1)),
        ]
    );
}

#[test]
fn the_report_is_one_line() {
    let report = Handover {
        took_ms: 412,
        listed_after_ms: 12,
        reattached: 30,
        finalised: 2,
        lost: 1,
        started_again: 3,
        left_alone: 120,
        cleared: 4,
        orphans: 1,
        ..Handover::at(Timestamp::UNIX_EPOCH)
    };
    insta::assert_snapshot!(report, @"jobs: 30 go on, 2 had ended, 1 lost, 3 started again, 120 wait; containers: 4 cleared away, 1 orphaned; in 412 ms");
    let late = Handover { engine_was_away: true, took_ms: 12_412, listed_after_ms: 12_012, ..report };
    insta::assert_snapshot!(late, @"jobs: 30 go on, 2 had ended, 1 lost, 3 started again, 120 wait; containers: 4 cleared away, 1 orphaned; in 12412 ms, of which 12012 ms until the engine answered");
}
