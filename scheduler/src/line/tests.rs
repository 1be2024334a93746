//! Who goes next, and why.

use super::*;
use crate::demand::Budget;
use mgx_runtimes::Limits;
use proptest::prelude::*;
use uuid::Uuid;

const NEED: Limits = Limits { memory_bytes: 100, cpu_quota: 10, pids: 1 };

fn job(n: u128) -> JobId {
    JobId(Uuid::from_u128(n))
}

fn demand(n: u128, user: &str) -> Demand {
    Demand {
        job: job(n),
        user: user.into(),
        session: format!("session-of-{user}").parse().unwrap(),
        kind: Kind::Agent,
        priority: 5,
        group: None,
        need: NEED,
        since: Timestamp::UNIX_EPOCH,
    }
}

fn line() -> Line {
    let (ageing, patience) = (Duration::from_mins(1), Duration::from_secs(30));
    Line::new(Fairness { weights: BTreeMap::from([("gold".to_owned(), 3)]), ageing, patience })
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// Whoever may run if nothing else runs, one after the other.
fn drain(line: &mut Line) -> Vec<u128> {
    let next = || line.next(&Usage::default(), &Caps::of(1), at(0));
    std::iter::from_fn(next).map(|demand| demand.job.0.as_u128()).collect()
}

#[test]
fn users_take_turns_from_the_first_job_on() {
    let mut line = line();
    for n in 0..4 {
        line.join(demand(n, "flood"));
    }
    line.join(demand(10, "guest"));
    line.join(demand(11, "guest"));
    assert_eq!(drain(&mut line), [0, 10, 1, 11, 2, 3]);
}

#[test]
fn a_weight_is_so_many_turns() {
    let mut line = line();
    for n in 0..4 {
        line.join(demand(n, "flood"));
        line.join(demand(10 + n, "gold"));
    }
    assert_eq!(drain(&mut line)[..5], [0, 10, 11, 12, 1]);
}

#[test]
fn who_comes_late_waits_for_nobodys_backlog() {
    let mut line = line();
    for n in 0..100 {
        line.join(demand(n, "flood"));
    }
    for _ in 0..50 {
        line.next(&Usage::default(), &Caps::of(1), at(0));
    }
    line.join(demand(1000, "guest"));
    assert!(line.ahead(job(1000), at(0)).unwrap() <= 1);
}

#[test]
fn staying_away_saves_no_turns() {
    let mut line = line();
    line.join(demand(1, "guest"));
    drain(&mut line);
    for n in 100..200 {
        line.join(demand(n, "flood"));
    }
    for _ in 0..50 {
        line.next(&Usage::default(), &Caps::of(1), at(0));
    }
    for n in 200..210 {
        line.join(demand(n, "guest"));
    }
    let guests = drain(&mut line).into_iter().take(6).filter(|n| *n >= 200).count();
    assert!((2..=4).contains(&guests), "{guests} of the next 6 turns");
}

#[test]
fn a_priority_goes_first_and_age_makes_up_for_it() {
    let mut line = line();
    line.join(Demand { priority: 0, ..demand(1, "a") });
    line.join(Demand { priority: 9, since: at(600), ..demand(2, "a") });
    let next = |line: &mut Line, now| line.next(&Usage::default(), &Caps::of(1), at(now)).unwrap().job;
    assert_eq!(next(&mut line, 0), job(2));
    line.join(Demand { priority: 9, since: at(600), ..demand(2, "a") });
    assert_eq!(next(&mut line, 600), job(1), "nine steps of ageing and one more have passed");
}

#[test]
fn a_limit_of_one_is_no_limit_of_others() {
    let mut line = line();
    let caps = Caps { per_user: 1, ..Caps::of(10) };
    let mut usage = Usage::default();
    for n in 0..3 {
        line.join(demand(n, "a"));
    }
    line.join(demand(10, "b"));
    let (mut ran, mut tickets) = (Vec::new(), Vec::new());
    while let Some(demand) = line.next(&usage, &caps, at(0)) {
        ran.push(demand.job);
        tickets.push(usage.take(demand));
    }
    assert_eq!(ran, [job(0), job(10)]);
    let binding = usage.binding(line.demand(job(1)).unwrap(), &caps).unwrap();
    assert_eq!(
        (&*binding.limit, binding.used, binding.max, binding.holders),
        ("per_user", 1, 1, vec![job(0)])
    );
    usage.give_back(tickets[0]);
    assert_eq!(line.next(&usage, &caps, at(0)).unwrap().job, job(1));
}

#[test]
fn a_group_runs_one_at_a_time() {
    let mut line = line();
    let mut usage = Usage::default();
    let grouped = |n| Demand { group: Some("a/deploy".into()), ..demand(n, "a") };
    line.join(grouped(1));
    line.join(grouped(2));
    line.join(demand(3, "a"));
    usage.take(line.next(&usage, &Caps::of(10), at(0)).unwrap());
    assert_eq!(line.next(&usage, &Caps::of(10), at(0)).unwrap().job, job(3));
    assert_eq!(usage.binding(line.demand(job(2)).unwrap(), &Caps::of(10)).unwrap().holders, [job(1)]);
}

#[test]
fn a_large_job_is_overtaken_for_a_while_and_no_longer() {
    let mut line = line();
    let caps = Caps { host: Budget { memory_bytes: 300, ..Budget::UNLIMITED }, ..Caps::of(10) };
    let mut usage = Usage::default();
    let ticket = usage.take(demand(1, "a"));
    line.join(Demand { need: Limits { memory_bytes: 300, ..NEED }, ..demand(2, "b") });
    line.join(demand(3, "c"));
    line.join(demand(4, "c"));
    assert_eq!(line.next(&usage, &caps, at(0)).unwrap().job, job(3));
    assert_eq!(line.next(&usage, &caps, at(31)), None, "the house waits until it fits");
    usage.give_back(ticket);
    assert_eq!(line.next(&usage, &caps, at(31)).unwrap().job, job(2));
}

proptest! {
    #[test]
    fn the_announced_place_is_the_true_one(jobs in prop::collection::vec((0u8..4, 0u8..3, any::<bool>()), 1..40)) {
        let mut line = line();
        for (n, (user, priority, leaves)) in jobs.iter().enumerate() {
            line.join(Demand { priority: *priority, ..demand(n as u128, &format!("user-{user}")) });
            if *leaves { line.leave(job(n as u128 / 2)); }
        }
        let waiting = line.len();
        let announced: HashMap<_, _> =
            (0..jobs.len() as u128).filter_map(|n| Some((n, line.ahead(job(n), at(0))?))).collect();
        prop_assert_eq!(announced.len(), waiting);
        for (turn, n) in drain(&mut line).into_iter().enumerate() {
            prop_assert_eq!(announced[&n], turn);
        }
        prop_assert_eq!(line.len(), 0);
    }
}
