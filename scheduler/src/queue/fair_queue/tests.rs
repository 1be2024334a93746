//! Who goes next, and why.

use super::*;
use crate::job::Kind;
use crate::queue::demand::Budget;
use mgx_runtimes::Limits;
use proptest::prelude::*;
use std::collections::HashMap;
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

fn queue() -> FairQueue {
    FairQueue::new(Fairness {
        weights: BTreeMap::from([("gold".to_owned(), 3)]),
        ageing: Duration::from_mins(1),
        overtaking_limit: Duration::from_secs(30),
    })
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn next(queue: &mut FairQueue, usage: &Usage, caps: &Caps, now: i64) -> Option<Demand> {
    queue.next(usage, caps, at(now)).map(|(demand, _)| demand)
}

/// The jobs in the order in which they run if nothing else runs.
fn drain(queue: &mut FairQueue) -> Vec<u128> {
    let next = || queue.next(&Usage::default(), &Caps::of(1), at(0)).map(|(demand, _)| demand);
    std::iter::from_fn(next).map(|demand| demand.job.0.as_u128()).collect()
}

#[test]
fn users_take_turns_from_the_first_job_on() {
    let mut queue = queue();
    for n in 0..4 {
        queue.add(demand(n, "flood"));
    }
    queue.add(demand(10, "guest"));
    queue.add(demand(11, "guest"));
    assert_eq!(drain(&mut queue), [0, 10, 1, 11, 2, 3]);
}

#[test]
fn a_weight_is_a_share_of_the_slots() {
    let mut queue = queue();
    for n in 0..4 {
        queue.add(demand(n, "flood"));
        queue.add(demand(10 + n, "gold"));
    }
    assert_eq!(drain(&mut queue)[..5], [0, 10, 11, 12, 1]);
}

#[test]
fn a_new_user_does_not_wait_for_the_backlog_of_others() {
    let mut queue = queue();
    for n in 0..100 {
        queue.add(demand(n, "flood"));
    }
    for _ in 0..50 {
        queue.next(&Usage::default(), &Caps::of(1), at(0));
    }
    queue.add(demand(1000, "guest"));
    assert!(queue.ahead(job(1000)).unwrap() <= 1);
}

#[test]
fn a_user_saves_up_no_turns_by_staying_away() {
    let mut queue = queue();
    queue.add(demand(1, "guest"));
    drain(&mut queue);
    for n in 100..200 {
        queue.add(demand(n, "flood"));
    }
    for _ in 0..50 {
        queue.next(&Usage::default(), &Caps::of(1), at(0));
    }
    for n in 200..210 {
        queue.add(demand(n, "guest"));
    }
    let guests = drain(&mut queue).into_iter().take(6).filter(|n| *n >= 200).count();
    assert!((2..=4).contains(&guests), "{guests} of the next 6 turns");
}

#[test]
fn a_higher_priority_goes_first_until_age_makes_up_for_it() {
    let mut queue = queue();
    queue.add(Demand { priority: 0, ..demand(1, "a") });
    queue.add(Demand { priority: 9, since: at(530), ..demand(2, "a") });
    let next = |queue: &mut FairQueue, now| next(queue, &Usage::default(), &Caps::of(1), now).unwrap().job;
    assert_eq!(next(&mut queue, 530), job(2));
    queue.add(Demand { priority: 9, since: at(600), ..demand(2, "a") });
    assert_eq!(next(&mut queue, 600), job(1), "it has waited for ten steps of ageing longer");
}

#[test]
fn a_limit_of_one_user_does_not_hold_up_another() {
    let mut queue = queue();
    let caps = Caps { per_user: 1, ..Caps::of(10) };
    let mut usage = Usage::default();
    for n in 0..3 {
        queue.add(demand(n, "a"));
    }
    queue.add(demand(10, "b"));
    let (mut ran, mut reservations) = (Vec::new(), Vec::new());
    while let Some(demand) = next(&mut queue, &usage, &caps, 0) {
        ran.push(demand.job);
        reservations.push(usage.reserve(demand));
    }
    assert_eq!(ran, [job(0), job(10)]);
    let binding = usage.blocking_limit(queue.demand(job(1)).unwrap(), &caps).unwrap();
    assert_eq!(
        (binding.limit.as_str(), binding.used, binding.max, binding.holders),
        ("quotas.user_jobs", 1, 1, vec![job(0)])
    );
    usage.release(reservations[0]);
    assert_eq!(next(&mut queue, &usage, &caps, 0).unwrap().job, job(1));
}

#[test]
fn a_group_runs_one_at_a_time() {
    let mut queue = queue();
    let mut usage = Usage::default();
    let grouped = |n| Demand { group: Some("a/deploy".into()), ..demand(n, "a") };
    queue.add(grouped(1));
    queue.add(grouped(2));
    queue.add(demand(3, "a"));
    usage.reserve(next(&mut queue, &usage, &Caps::of(10), 0).unwrap());
    assert_eq!(next(&mut queue, &usage, &Caps::of(10), 0).unwrap().job, job(3));
    assert_eq!(usage.blocking_limit(queue.demand(job(2)).unwrap(), &Caps::of(10)).unwrap().holders, [job(1)]);
}

#[test]
fn a_large_job_is_overtaken_for_a_while_and_no_longer() {
    let mut queue = queue();
    let caps = Caps { host: Budget { memory_bytes: 300, ..Budget::UNLIMITED }, ..Caps::of(10) };
    let mut usage = Usage::default();
    let reservation = usage.reserve(demand(1, "a"));
    queue.add(Demand { need: Limits { memory_bytes: 300, ..NEED }, ..demand(2, "b") });
    queue.add(demand(3, "c"));
    queue.add(demand(4, "c"));
    assert_eq!(next(&mut queue, &usage, &caps, 0).unwrap().job, job(3));
    assert_eq!(next(&mut queue, &usage, &caps, 31), None, "no job starts until it fits");
    usage.release(reservation);
    assert_eq!(next(&mut queue, &usage, &caps, 31).unwrap().job, job(2));
}

#[test]
fn a_user_at_its_own_limit_does_not_hold_up_the_host() {
    let mut queue = queue();
    let host = Budget { memory_bytes: 300, ..Budget::UNLIMITED };
    let caps = Caps { host, per_user: 1, ..Caps::of(10) };
    let mut usage = Usage::default();
    usage.reserve(demand(1, "a"));
    queue.add(Demand { need: Limits { memory_bytes: 300, ..NEED }, ..demand(2, "a") });
    queue.add(demand(3, "b"));
    assert_eq!(next(&mut queue, &usage, &caps, 31).unwrap().job, job(3));
}

#[test]
fn a_granted_slot_says_what_was_compared() {
    let mut queue = queue();
    let caps = Caps { per_user: 2, per_kind: BTreeMap::from([(Kind::Build, 1)]), ..Caps::of(10) };
    let mut usage = Usage::default();
    for (n, kind) in [(1, Kind::Build), (2, Kind::Agent)] {
        usage.reserve(Demand { kind, ..demand(n, "a") });
    }
    queue.add(demand(3, "a"));
    queue.add(Demand { kind: Kind::Build, priority: 9, ..demand(4, "gold") });
    queue.add(Demand { since: at(60), ..demand(5, "gold") });
    let (demand, reason) = queue.next(&usage, &caps, at(200)).unwrap();
    assert_eq!(demand.job, job(5));
    insta::assert_json_snapshot!(reason.data(), @r#"
    {
      "max_running": 10,
      "passed_over": {
        "build jobs": 1,
        "quotas.user_jobs": 1
      },
      "priority": 7,
      "running": 2,
      "user_running": 0,
      "user_turn": {
        "time": 0,
        "weight": 3
      },
      "waited_ms": 140000
    }
    "#);
}

/// The same rules in the plainest way: everything is looked at, and sorted, for every turn.
#[derive(Debug, Default)]
struct Plain {
    jobs: Vec<Demand>,
    times: BTreeMap<Arc<str>, u64>,
    now: u64,
}

impl Plain {
    fn join(&mut self, demand: Demand) {
        let time = self.times.entry(demand.user.clone()).or_default();
        if self.jobs.iter().all(|other| other.user != demand.user) {
            *time = self.now.max(*time);
        }
        self.jobs.push(demand);
    }

    fn next(&mut self, fairness: &Fairness, usage: &Usage, caps: &Caps, now: Timestamp) -> Option<Demand> {
        let rank = |demand: &Demand| {
            let head_start = fairness.ageing * demand.priority.into();
            (demand.since.as_microsecond() - i64::try_from(head_start.as_micros()).unwrap(), demand.job)
        };
        let mut jobs: Vec<_> = self.jobs.iter().collect();
        jobs.sort_by_key(|demand| (self.times[&demand.user], demand.user.clone(), rank(demand)));
        let chosen = jobs.into_iter().find_map(|demand| {
            if usage.jobs_of(&demand.user) >= caps.per_user {
                return None;
            }
            match usage.reached_limit(demand, caps) {
                None => Some(Some(demand.clone())),
                Some(reached) => {
                    let has_waited = waited(demand, now) >= fairness.overtaking_limit;
                    let holds_up = reached.is_of_the_host() && Usage::could_ever_run(demand, caps);
                    (holds_up && has_waited).then_some(None)
                }
            }
        })??;
        self.jobs.retain(|other| other.job != chosen.job);
        let time = self.times.get_mut(&chosen.user)?;
        self.now = self.now.max(*time);
        *time += TURN_COST / u64::from(fairness.weight(&chosen.user));
        Some(chosen)
    }
}

/// What happens to a queue.
#[derive(Clone, Debug)]
enum Step {
    Join { user: u8, priority: u8, session: u8, group: Option<u8>, is_build: bool, memory: u64 },
    Leave(usize),
    Turn,
    GiveBack(usize),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let join = (0u8..4, 0u8..10, 0u8..2, prop::option::weighted(0.2, 0u8..2), any::<bool>(), 1u64..4);
    prop_oneof![
        4 => join.prop_map(|(user, priority, session, group, is_build, memory)| {
            Step::Join { user, priority, session, group, is_build, memory }
        }),
        1 => any::<usize>().prop_map(Step::Leave),
        4 => Just(Step::Turn),
        2 => any::<usize>().prop_map(Step::GiveBack),
        1 => (0u8..60).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn the_queue_decides_as_if_it_looked_at_every_job(
        steps in prop::collection::vec(step(), 1..120),
        (running, per_user, builds, memory) in (1usize..6, 1usize..4, 1usize..3, 2u64..8),
    ) {
        let host = Budget { memory_bytes: memory, ..Budget::UNLIMITED };
        let session = Budget { memory_bytes: 3, ..Budget::UNLIMITED };
        let per_kind = BTreeMap::from([(Kind::Build, builds)]);
        let caps = Caps { per_user, per_kind, host, session, ..Caps::of(running) };
        let (mut queue, mut plain) = (queue(), Plain::default());
        let (mut usage, mut reservations, mut now, mut joined) = (Usage::default(), Vec::new(), 0, 0);
        for step in steps {
            match step {
                Step::Join { user, priority, session, group, is_build, memory } => {
                    joined += 1;
                    let name = if user == 3 { "gold".to_owned() } else { format!("user-{user}") };
                    let demand = Demand {
                        priority,
                        session: format!("{name}-{session}").parse().unwrap(),
                        group: group.map(|group| format!("{name}/{group}").into()),
                        kind: if is_build { Kind::Build } else { Kind::Agent },
                        need: Limits { memory_bytes: memory, ..NEED },
                        since: at(now),
                        ..demand(joined, &name)
                    };
                    queue.add(demand.clone());
                    plain.join(demand);
                }
                Step::Leave(index) if !plain.jobs.is_empty() => {
                    let leaver = plain.jobs.remove(index % plain.jobs.len());
                    queue.remove(leaver.job);
                }
                Step::GiveBack(index) if !reservations.is_empty() => {
                    usage.release(reservations.remove(index % reservations.len()));
                }
                Step::Turn => {
                    let expected = if usage.jobs() < running {
                        plain.next(&queue.fairness, &usage, &caps, at(now))
                    } else {
                        None
                    };
                    let found = next(&mut queue, &usage, &caps, now);
                    prop_assert_eq!(&found, &expected);
                    reservations.extend(found.map(|demand| usage.reserve(demand)));
                }
                Step::Pass(seconds) => now += i64::from(seconds),
                Step::Leave(_) | Step::GiveBack(_) => {}
            }
            prop_assert_eq!(queue.len(), plain.jobs.len());
        }
    }

    #[test]
    fn the_announced_position_is_the_true_one(jobs in prop::collection::vec((0u8..4, 0u8..3, any::<bool>(), 0i64..90), 1..40)) {
        let mut queue = queue();
        for (n, (user, priority, leaves, since)) in jobs.iter().enumerate() {
            let since = at(*since);
            queue.add(Demand { priority: *priority, since, ..demand(n as u128, &format!("user-{user}")) });
            if *leaves { queue.remove(job(n as u128 / 2)); }
        }
        let waiting = queue.len();
        let announced: HashMap<_, _> =
            (0..jobs.len() as u128).filter_map(|n| Some((n, queue.ahead(job(n))?))).collect();
        prop_assert_eq!(announced.len(), waiting);
        for (turn, n) in drain(&mut queue).into_iter().enumerate() {
            prop_assert_eq!(announced[&n], turn);
        }
        prop_assert_eq!(queue.len(), 0);
    }
}
