//! Red controls: the checker accepts a good history, and rejects it as soon as one promise is broken in it.

use super::*;
use crate::final_state::Event;
use crate::nemesis::Nemesis;

/// Five jobs in one session: two succeed, one is cancelled, one takes too long, one is run again; the third answer
/// got lost on its way.
fn good() -> (Vec<Record>, FinalState) {
    let text = ToOwned::to_owned;
    let sent = |number, workload| Record::Sent { number, session: text("s"), workload };
    let accepted = |number, job| Record::Accepted { number, job: text(job) };
    let seen = |job, state| Record::Seen { job: text(job), status: 200, state: text(state) };
    let frame = |id, event, job| Record::Frame { session: text("s"), id, event: text(event), job: text(job) };
    let history = vec![
        Record::Run { runtime: text("process"), seed: 1, jobs: 5, cycles: 1, slots: 2 },
        sent(1, Workload::Succeed),
        accepted(1, "a"),
        sent(2, Workload::Cancel),
        accepted(2, "b"),
        Record::Cancelled { job: text("b") },
        sent(4, Workload::TimeOut(5)),
        accepted(4, "d"),
        sent(5, Workload::FailOnce),
        accepted(5, "e"),
        sent(6, Workload::Succeed),
        Record::Refused { number: 6, status: 429, code: text("queue-full") },
        Record::Refused { number: 6, status: 0, code: String::new() },
        Record::Peak { mib: 60 },
        Record::Killed { starting: false },
        sent(3, Workload::Succeed),
        Record::Unknown { number: 3 },
        seen("a", "running"),
        frame(1, "job_queued", "a"),
        frame(2, "log", "a"),
        seen("a", "succeeded"),
    ];
    let event = |seq, kind, job, state, said| Event {
        seq,
        kind: text(kind),
        job: text(job),
        state: text(state),
        text: text(said),
    };
    let events = vec![
        event(1, "job_queued", "a", "", ""),
        event(2, "log", "a", "", "ran 1"),
        event(3, "finish", "a", "succeeded", ""),
        event(4, "finish", "b", "cancelled", ""),
        event(5, "log", "c", "", "ran 3"),
        event(6, "finish", "c", "succeeded", ""),
        event(7, "finish", "d", "timed_out", ""),
        event(8, "finish", "e", "succeeded", ""),
    ];
    let states =
        [("a", "succeeded"), ("b", "cancelled"), ("c", "succeeded"), ("d", "timed_out"), ("e", "succeeded")];
    let found = FinalState {
        jobs: states.map(|(job, state)| (text(job), text(state))).into(),
        events: [(text("s"), events)].into(),
        ran: [(text("s"), vec![1, -1, 3, -3, 4, 5, -5, 5, -5])].into(),
        lived: [(4, 5.2)].into(),
        lost: BTreeSet::new(),
    };
    (history, found)
}

/// What is broken when `spoil` has changed the good history.
fn broken(spoil: impl FnOnce(&mut Vec<Record>, &mut FinalState)) -> Vec<Promise> {
    let (mut history, mut found) = good();
    spoil(&mut history, &mut found);
    check(&history, &found, 1.0).broken.into_keys().collect()
}

fn events(found: &mut FinalState) -> &mut Vec<Event> {
    found.events.get_mut("s").unwrap()
}

#[test]
fn a_good_history_is_accepted() {
    let (history, found) = good();
    insta::assert_snapshot!(check(&history, &found, 1.0));
}

#[test]
fn a_job_that_is_lost_is_found() {
    assert!(broken(|_, found| drop(found.jobs.remove("a"))).contains(&Promise::NoneLost));
    let forever_running = broken(|_, found| drop(found.jobs.insert("a".into(), "running".into())));
    assert!(forever_running.contains(&Promise::NoneLost));
    let seen = Record::Seen { job: "a".into(), status: 404, state: String::new() };
    assert_eq!(broken(|history, _| history.push(seen)), [Promise::NoneLost], "even if it comes back");
}

#[test]
fn a_job_that_ran_twice_is_found() {
    assert_eq!(broken(|_, found| found.ran.get_mut("s").unwrap().push(1)), [Promise::RunOnce]);
    let unknown_twice = broken(|_, found| found.ran.get_mut("s").unwrap().push(3));
    assert_eq!(unknown_twice, [Promise::RunOnce], "with or without an answer");
}

#[test]
fn a_job_that_ran_twice_at_once_or_more_often_than_agreed_is_found() {
    let ran = |lines: &'static [i64]| broken(|_, found| found.ran.get_mut("s").unwrap().extend(lines));
    assert_eq!(ran(&[5, -5]), [Promise::RunOnce], "a third time");
    let at_once = broken(|_, found| {
        found.ran.insert("s".to_owned(), vec![1, -1, 3, -3, 4, 5, 5, -5, -5]);
    });
    assert_eq!(at_once, [Promise::RunOnce]);
}

#[test]
fn a_command_that_was_ended_too_early_or_too_late_is_found() {
    let lived = |seconds| broken(|_, found| found.lived.extend([(4, seconds)]));
    assert_eq!((lived(3.1), lived(6.9)), (vec![], vec![]));
    assert_eq!((lived(2.9), lived(7.1)), (vec![Promise::InTime], vec![Promise::InTime]));
    assert_eq!(broken(|_, found| found.lived.clear()), [Promise::InTime], "it timed out before it began");
    let of_another = broken(|_, found| {
        found.jobs.insert("e".into(), "timed_out".into());
        "timed_out".clone_into(&mut events(found)[7].state);
    });
    assert!(of_another.contains(&Promise::InTime), "it had 120 s");
}

#[test]
fn a_cancel_that_was_answered_and_forgotten_is_found() {
    let forgotten = broken(|_, found| {
        found.jobs.insert("b".into(), "succeeded".into());
        "succeeded".clone_into(&mut events(found)[3].state);
        found.ran.get_mut("s").unwrap().extend([2, -2]);
    });
    assert_eq!(forgotten, [Promise::Cancelled, Promise::Right]);
}

#[test]
fn a_job_that_nobody_could_cancel_ends_by_itself() {
    let ended = |state: &'static str| {
        broken(|history, found| {
            history.retain(|record| !matches!(record, Record::Cancelled { .. }));
            found.jobs.insert("b".into(), state.into());
            state.clone_into(&mut events(found)[3].state);
            found.ran.get_mut("s").unwrap().extend([2, -2]);
        })
    };
    assert_eq!(ended("succeeded"), []);
    assert_eq!(ended("failed"), [Promise::Right]);
}

#[test]
fn a_run_that_is_lost_without_a_reason_is_found() {
    let lose = |history: &mut Vec<Record>, found: &mut FinalState, ends_runs| {
        history.push(Record::Disturbed { nemesis: Nemesis::Engine, how: "killed".into(), ends_runs });
        found.jobs.insert("a".into(), "failed".into());
        found.lost.insert("a".into());
        "failed".clone_into(&mut events(found)[2].state);
        history.retain(|record| !matches!(record, Record::Seen { .. }));
    };
    assert_eq!(broken(|history, found| lose(history, found, true)), [], "the engine took it along");
    let survived = broken(|history, found| lose(history, found, false));
    assert_eq!(survived, [Promise::NoRunLost, Promise::Right]);
    let too_many = broken(|history, found| {
        lose(history, found, true);
        found.lost.extend(["x".to_owned(), "y".to_owned()]);
    });
    assert_eq!(too_many, [Promise::NoRunLost], "more than there are slots");
}

#[test]
fn a_refusal_without_a_reason_is_found() {
    for (status, code) in [(500, "internal"), (429, ""), (503, "queue-full"), (404, "not-found")] {
        let refused = Record::Refused { number: 6, status, code: code.to_owned() };
        assert_eq!(broken(|history, _| history.push(refused)), [Promise::Refused], "{status} {code}");
    }
}

#[test]
fn a_server_that_takes_all_the_memory_is_found() {
    assert_eq!(broken(|history, _| history.push(Record::Peak { mib: 600 })), [Promise::Bounded]);
}

#[test]
fn a_job_that_succeeded_without_running_is_found() {
    assert_eq!(
        broken(|_, found| found.ran.get_mut("s").unwrap().retain(|number| number.abs() != 1)),
        [Promise::RunOnce]
    );
}

#[test]
fn a_command_that_nobody_asked_for_is_found() {
    assert_eq!(broken(|_, found| found.ran.get_mut("s").unwrap().push(77)), [Promise::RunOnce]);
    assert_eq!(broken(|_, found| drop(found.ran.insert("t".into(), vec![2]))), [Promise::RunOnce]);
}

#[test]
fn a_gap_in_the_numbers_is_found() {
    let gap = broken(|_, found| events(found).iter_mut().skip(3).for_each(|event| event.seq += 1));
    assert_eq!(gap, [Promise::Dense]);
    let twice = broken(|_, found| events(found)[4].seq = 4);
    assert_eq!(twice, [Promise::Dense]);
}

#[test]
fn a_second_finish_is_found() {
    let again = |_: &mut Vec<Record>, found: &mut FinalState| {
        let again = Event { seq: 9, ..events(found)[2].clone() };
        events(found).push(again);
    };
    assert_eq!(broken(again), [Promise::OneEnd]);
}

#[test]
fn a_missing_or_lying_finish_is_found() {
    let missing = broken(|_, found| "log".clone_into(&mut events(found)[2].kind));
    assert_eq!(missing, [Promise::OneEnd]);
    let lying = broken(|_, found| "failed".clone_into(&mut events(found)[2].state));
    assert_eq!(lying, [Promise::OneEnd]);
}

#[test]
fn an_event_after_the_end_is_found() {
    let late = broken(|_, found| {
        let late = Event { seq: 9, ..events(found)[1].clone() };
        events(found).push(late);
    });
    assert_eq!(late, [Promise::OneEnd]);
}

#[test]
fn an_end_that_changed_is_found() {
    let seen = Record::Seen { job: "a".into(), status: 200, state: "failed".into() };
    assert_eq!(broken(|history, _| history.push(seen)), [Promise::OneEnd]);
}

#[test]
fn a_reader_that_missed_or_repeated_something_is_found() {
    let frame =
        |id, event: &str| Record::Frame { session: "s".into(), id, event: event.into(), job: "a".into() };
    assert_eq!(broken(|history, _| history.push(frame(2, "log"))), [Promise::ReadOnce], "again");
    assert_eq!(broken(|history, _| history.push(frame(4, "finish"))), [Promise::ReadOnce], "not the next");
    assert_eq!(broken(|history, _| history.push(frame(3, "log"))), [Promise::ReadOnce], "not what is stored");
    let refused = Record::ReaderRefused { session: "s".into(), error: "409".into() };
    assert_eq!(broken(|history, _| history.push(refused)), [Promise::ReadOnce]);
}

#[test]
fn a_job_out_of_nowhere_is_found() {
    let invented = broken(|_, found| {
        found.jobs.insert("f".into(), "succeeded".into());
        let finish = Event { seq: 9, job: "f".into(), ..events(found)[2].clone() };
        events(found).push(finish);
    });
    assert_eq!(invented, [Promise::NoneInvented]);
    let shared = broken(|history, _| {
        history[4] = Record::Accepted { number: 2, job: "a".into() };
    });
    assert!(shared.contains(&Promise::NoneInvented));
}

#[test]
fn a_server_that_fails_everything_has_shown_nothing() {
    let failing = broken(|history, found| {
        found.jobs.insert("a".into(), "failed".into());
        "failed".clone_into(&mut events(found)[2].state);
        history.pop();
    });
    assert_eq!(failing, [Promise::Right]);
    let idle = check(&[], &FinalState::default(), 0.5);
    assert_eq!(idle.broken.into_keys().collect::<Vec<_>>(), [Promise::Right]);
}
