//! One user floods the queue, and the other users wait hardly longer: the real scheduler under a paused clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::{EventKind, JobId, StateName};
use mgx_runtimes::null::HOLD;
use mgx_runtimes::{Limits, Null};
use mgx_scheduler::memory::MemoryJournal;
use mgx_scheduler::{
    Caps, Clock, Config, Fairness, JobSpec, Kind, Scheduler, SchedulingOptions, Submission, Uptime,
};
use mgx_testkit::FixedBlueprint;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

const SLOTS: usize = 8;
const PER_USER: usize = 6;
const FLOOD: u32 = 300;
const FLOODER: &str = "user-0";

/// A job to submit: its user, when it is submitted, and how long it runs, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Order {
    user: u32,
    at: u64,
    hold: u64,
}

/// How long a job waited, in turns: how many jobs of the flooding user started meanwhile, and how many jobs of its own
/// user were ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    turns_of_the_flood: usize,
    own_before: usize,
}

/// The events of all jobs, in order.
struct Log {
    orders: HashMap<JobId, (String, Order)>,
    steps: Vec<(EventKind, JobId)>,
}

#[tokio::test(start_paused = true)]
async fn a_flood_gets_no_more_than_its_turns_while_others_wait() {
    let mut orders = vec![Order { user: 0, at: 0, hold: 97 }; FLOOD as usize];
    // each of nine comes with three jobs every 378 ms: together, 70 % of what eight slots can do
    orders.extend((0..360).map(|n| {
        let (burst, hold) = (n / 3, 30 + u64::from(n * 37 % 101));
        Order { user: 1 + burst % 9, at: 20 + u64::from(burst) * 42, hold }
    }));
    let log = run_jobs(orders, |order| format!("user-{}", order.user)).await;

    assert!(log.most(|_| true) <= SLOTS, "more jobs run than there are slots");
    assert_eq!(
        log.most(|user| user == FLOODER),
        PER_USER,
        "the flood is as large as one user's cap, and no larger"
    );
    let waits: Vec<_> = log.waits(|user| user != FLOODER);
    assert_eq!(waits.len(), 360);
    for wait in &waits {
        // a user without waiting jobs joins at the queue's current virtual time, or one turn later; so does the flood
        assert!(wait.turns_of_the_flood <= wait.own_before + 2, "{wait:?}");
    }
    assert!(waits.iter().any(|wait| wait.turns_of_the_flood > 0), "there was no flood to wait for");
}

/// The red control: jobs of one user run in the order of submission, so the last one waits for the whole flood.
#[tokio::test(start_paused = true)]
async fn the_flooding_user_waits_for_the_flood() {
    let mut orders = vec![Order { user: 0, at: 0, hold: 97 }; FLOOD as usize];
    orders.push(Order { user: 1, at: 500, hold: 30 });
    let log = run_jobs(orders, |_| FLOODER.to_owned()).await;
    let wait = log.waits(|_| true).into_iter().max_by_key(|wait| wait.turns_of_the_flood);
    assert!(wait.is_some_and(|wait| wait.turns_of_the_flood > 200), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn while_every_user_waits_all_have_the_same_number_of_turns() {
    let of_user =
        |user| (0..20).map(move |n| Order { user, at: 0, hold: 20 + u64::from((user * 7 + n * 13) % 50) });
    let log = run_jobs((0..10).flat_map(of_user).collect(), |order| format!("user-{}", order.user)).await;
    let mut turns = BTreeMap::new();
    // the first jobs found free slots, which does not count against their users later
    let admitted = log.steps.iter().filter(|(step, _)| *step == EventKind::Job(StateName::Admitted));
    for (_, job) in admitted.skip(SLOTS).take(100) {
        *turns.entry(log.orders[job].0.as_str()).or_insert(0) += 1;
    }
    let (least, most) = (turns.values().min().unwrap(), turns.values().max().unwrap());
    assert!(turns.len() == 10 && most - least <= 2, "{turns:?}");
}

/// Submits `orders` at their times and waits until every job has ended.
async fn run_jobs(orders: Vec<Order>, user: fn(&Order) -> String) -> Log {
    let begin = Instant::now();
    let journal = Arc::new(MemoryJournal::default());
    let config = Config {
        caps: Caps { per_user: PER_USER, ..Caps::of(SLOTS) },
        fairness: Fairness::default(),
        max_queued: 10_000,
        max_queued_per_user: 10_000,
        history: mgx_scheduler::HistoryLimit { events: 50_000, bytes: 50 << 20 },
        history_per_job: mgx_scheduler::HistoryLimit { events: 50_000, bytes: 50 << 20 },
        grace: Duration::from_secs(1),
        in_memory: 1_000,
        start_tries: 1,
        runtime: "fake".to_owned(),
        gives_up_jobs_of_other_runtimes: false,
        redactor: mgx_scheduler::Redactor::default(),
        max_provider_outage: Duration::from_hours(1),
        reap_every: Duration::from_hours(1),
    };
    let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, Uptime::default());
    let scheduler =
        Scheduler::start(config, clock, journal.clone(), Arc::new(Null::default()), Arc::new(FixedBlueprint));
    let scheduler = scheduler.await.expect("the journal can be read");
    let mut known = HashMap::new();
    for (number, order) in (1..).zip(orders) {
        sleep_until(begin + Duration::from_millis(order.at)).await;
        let (id, user) = (JobId(Uuid::from_u128(number)), user(&order));
        known.insert(id, (user.clone(), order));
        let submission =
            Submission { id, session: "session".parse().expect("a name"), user, spec: spec(order) };
        scheduler.submit(submission).await.expect("there is room");
    }
    while scheduler.load().live > 0 {
        sleep(Duration::from_secs(1)).await;
    }
    let events = journal.all_events().into_values().flatten();
    Log { orders: known, steps: events.map(|event| (event.kind, event.job)).collect() }
}

impl Log {
    /// The largest number of jobs of some users that ran at the same time.
    fn most(&self, of: impl Fn(&str) -> bool) -> usize {
        let (mut running, mut most) = (0, 0);
        for (step, _) in self.steps.iter().filter(|(_, job)| of(&self.orders[job].0)) {
            match step {
                EventKind::Job(StateName::Admitted) => running += 1,
                EventKind::Finish => running -= 1,
                _ => {}
            }
            most = most.max(running);
        }
        most
    }

    /// How long each job of some users waited.
    fn waits(&self, of: impl Fn(&str) -> bool) -> Vec<Wait> {
        let mut waiting: HashMap<JobId, Wait> = HashMap::new();
        let mut waits = Vec::new();
        for (step, job) in &self.steps {
            let user = &self.orders[job].0;
            match step {
                EventKind::Job(StateName::Queued) => {
                    let own_before = waiting.keys().filter(|other| self.orders[other].0 == *user).count();
                    waiting.insert(*job, Wait { turns_of_the_flood: 0, own_before });
                }
                EventKind::Job(StateName::Admitted) => {
                    waits.extend(waiting.remove(job).filter(|_| of(user)));
                    if user == FLOODER {
                        for wait in waiting.values_mut() {
                            wait.turns_of_the_flood += 1;
                        }
                    }
                }
                _ => {}
            }
        }
        waits
    }
}

fn spec(order: Order) -> JobSpec {
    JobSpec {
        kind: Kind::Agent,
        prompt: String::new(),
        command: vec![HOLD.to_owned(), order.hold.to_string()],
        env: BTreeMap::new(),
        workdir: String::new(),
        limits: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
        timeout_s: 3600,
        options: SchedulingOptions::default(),
        continues: Vec::new(),
    }
}
