//! One scenario: everything in it is drawn from its seed before it begins.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mgx_protocol::{Attempt, EventKind, JobId, SlotId};
use mgx_runtimes::fake::World;
use mgx_runtimes::{Limits, Runtime};
use mgx_scheduler::memory::MemoryJournal;
use mgx_scheduler::{
    CancelRequest, Caps, Clock, Config, Fairness, JobSpec, Kind, Scheduler, State, Submission, Uptime,
};
use mgx_testkit::{FixedBlueprint, SeededRandom};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::crash::{Crash, CrashingJournal, CrashingRuntime};
use crate::invariants::{self, Expected};
use crate::planned_job::PlannedJob;

/// By when every job must have ended, faults included.
const TIME_LIMIT: Duration = Duration::from_hours(4);

/// The mechanisms that uphold the invariants. One can be switched off, which the invariants have to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    On,
    EventsAreStoredOnce,
    EndedJobsAreFenced,
    OrphansAreReaped,
    JobsAreTakenUp,
    WritesAreKept,
}

/// Everything that happens, and when.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) guard: Guard,
    pub(crate) config: Config,
    pub(crate) jobs: Vec<PlannedJob>,
    crashes: Vec<Duration>,
    journal_slowness: Duration,
    journal_failures: Vec<(Duration, u32)>,
    /// When the machine's clock is set, and by how many seconds it is wrong from then on.
    clock_steps: Vec<(Duration, i64)>,
}

/// The machine's clock.
#[derive(Debug, Default)]
struct MachineClock {
    /// By how much it is wrong.
    offset: SignedDuration,
    /// The clock of the process that runs.
    clock: Option<Clock>,
}

/// How often things happened, over many scenarios.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) outcomes: BTreeMap<String, u64>,
    pub(crate) crashes: u64,
    pub(crate) reattached: u64,
    pub(crate) started_again: u64,
    /// Containers whose creation is not in the journal.
    pub(crate) unwritten: u64,
    pub(crate) events: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(outcome.clone()).or_default() += count;
        }
        self.crashes += other.crashes;
        self.reattached += other.reattached;
        self.started_again += other.started_again;
        self.unwritten += other.unwritten;
        self.events += other.events;
    }

    pub(crate) fn covers_every_case(&self) -> bool {
        let outcomes = [
            "succeeded",
            "cancelled",
            "timed_out",
            "finish_event_error",
            "nonzero_exit",
            "oom_killed",
            "image_missing",
            "start_failed",
            "runtime_lost",
            "refused",
            "expired",
        ];
        outcomes.iter().all(|outcome| self.outcomes.contains_key(*outcome))
            && self.crashes > 0
            && self.reattached > 0
            && self.started_again > 0
            && self.unwritten > 0
    }
}

impl Scenario {
    pub(crate) fn of(seed: u64, guard: Guard) -> Self {
        let mut random = SeededRandom::new(seed, 0);
        let config = Config {
            caps: Caps {
                per_user: if random.chance(30) { 1 + random.below(2) as usize } else { usize::MAX },
                ..Caps::of(1 + random.below(4) as usize)
            },
            fairness: Fairness::default(),
            max_queued: 2 + random.below(20) as usize,
            history: mgx_scheduler::HistoryLimit { events: 50_000, bytes: 50 << 20 },
            history_per_job: mgx_scheduler::HistoryLimit { events: 50_000, bytes: 50 << 20 },
            max_queued_per_user: if random.chance(30) { 1 + random.below(5) as usize } else { usize::MAX },
            grace: Duration::from_secs(random.below(5).into()),
            in_memory: random.below(4) as usize,
            start_tries: 1 + random.below(3),
            runtime: "fake".to_owned(),
            gives_up_jobs_of_other_runtimes: false,
            redactor: mgx_scheduler::Redactor::default(),
            max_provider_outage: Duration::from_mins(2),
            reap_every: Duration::from_secs(15),
        };
        let jobs = 1 + random.below(25);
        let jobs =
            (1..=jobs).map(|n| PlannedJob::of(&mut SeededRandom::new(seed, u64::from(n)), n)).collect();
        let crashes = if random.chance(70) { random.below(6) } else { 0 };
        let mut crashes: Vec<_> = (0..crashes).map(|_| random.up_to_millis(90_000)).collect();
        crashes.sort();
        let journal_failures =
            (0..random.below(4)).map(|_| (random.up_to_millis(90_000), 1 + random.below(8))).collect();
        let journal_slowness = if random.chance(50) { Duration::ZERO } else { random.up_to_millis(800) };
        let clock_steps = if random.chance(30) { random.below(4) } else { 0 };
        let clock_steps = (0..clock_steps)
            .map(|_| (random.up_to_millis(90_000), i64::from(random.below(3_600)) - 1_800))
            .collect();
        Self { guard, config, jobs, crashes, journal_slowness, journal_failures, clock_steps }
    }

    /// How long a slow or failing journal may keep the platform from beginning a job whose deadline is set, and from
    /// hearing of its end.
    pub(crate) fn slack(&self) -> Duration {
        // eight failures in a row are 4.6 s of pauses
        let failing = Duration::from_secs(5) * u32::try_from(self.journal_failures.len()).expect("a few");
        Duration::from_millis(50) + failing + self.journal_slowness * 8
    }

    /// Runs the scenario to its end and checks the invariants.
    pub(crate) async fn play(self) -> Result<Counts, String> {
        let begin = Instant::now();
        let journal = Arc::new(MemoryJournal::default());
        journal.allow_repeats(self.guard == Guard::EventsAreStoredOnce);
        journal.allow_ended(self.guard == Guard::EndedJobsAreFenced);
        let world = self.world();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let promised = Arc::new(Mutex::new(Vec::new()));
        let now = Arc::new(Mutex::new(None::<(Scheduler, Crash)>));

        let machine = Arc::new(Mutex::new(MachineClock::default()));
        let mut playing = tokio::task::JoinSet::new();
        for (at, offset) in self.clock_steps.clone() {
            let machine = machine.clone();
            playing.spawn(async move {
                sleep_until(begin + at).await;
                let mut machine = machine.lock().expect("unpoisoned");
                machine.offset = SignedDuration::from_secs(offset);
                if let Some(clock) = &machine.clock {
                    clock.set(wall(begin) + machine.offset);
                }
            });
        }
        for (at, count) in self.journal_failures.clone() {
            let journal = journal.clone();
            playing.spawn(async move {
                sleep_until(begin + at).await;
                journal.fail(count);
            });
        }
        for planned in self.jobs.clone() {
            playing.spawn(play_job(planned, begin, now.clone(), refused.clone(), promised.clone()));
        }
        let mut unwritten = 0;
        let mut scheduler = self.boot(begin, &journal, &world, &machine, &now).await;
        for at in &self.crashes {
            sleep_until(begin + *at).await;
            if let Some((_, crash)) = now.lock().expect("unpoisoned").take() {
                crash.cancel();
            }
            sleep(Duration::from_millis(700)).await;
            unwritten += count_unwritten(&journal, &world).await;
            scheduler = self.boot(begin, &journal, &world, &machine, &now).await;
        }
        let rest = async {
            while playing.join_next().await.is_some() {}
            while journal.is_busy() || scheduler.load().live > 0 {
                sleep(Duration::from_secs(1)).await;
            }
            // two sweeps of the reaper, and the one that may be under way
            sleep(self.config.reap_every * 3).await;
        };
        let in_time = timeout(TIME_LIMIT, rest).await.is_ok();
        let refused = refused.lock().expect("unpoisoned").clone();
        let expected = Expected { jobs: &self.jobs, caps: &self.config.caps, slack: self.slack() };
        invariants::check(&expected, &journal, &world, scheduler.load(), &refused, in_time)?;
        invariants::promises_are_kept(&journal, &promised.lock().expect("unpoisoned"))?;
        Ok(Counts { unwritten, ..self.counts(&journal, refused.len() as u64) })
    }

    async fn boot(
        &self,
        begin: Instant,
        journal: &Arc<MemoryJournal>,
        world: &World,
        machine: &Mutex<MachineClock>,
        now: &Mutex<Option<(Scheduler, Crash)>>,
    ) -> Scheduler {
        let crash = Crash::new();
        if self.guard == Guard::JobsAreTakenUp {
            journal.hide_unfinished();
        }
        let runtime = CrashingRuntime {
            inner: world.runtime(),
            crash: crash.clone(),
            lists: self.guard != Guard::OrphansAreReaped,
        };
        let journal = Arc::new(CrashingJournal {
            inner: journal.clone(),
            crash: crash.clone(),
            slowness: self.journal_slowness,
            writes: AtomicU32::new(0),
            keeps: self.guard != Guard::WritesAreKept,
        });
        let uptime = Uptime { passed: begin.elapsed(), ..Uptime::default() };
        let clock = {
            let mut machine = machine.lock().expect("unpoisoned");
            let clock = Clock::starting_at(wall(begin) + machine.offset, uptime);
            machine.clock = Some(clock.clone());
            clock
        };
        let scheduler = Scheduler::start(
            self.config.clone(),
            clock,
            journal,
            Arc::new(runtime),
            Arc::new(FixedBlueprint),
        )
        .await;
        let scheduler = scheduler.expect("the journal can be read");
        *now.lock().expect("unpoisoned") = Some((scheduler.clone(), crash));
        scheduler
    }

    fn world(&self) -> World {
        let jobs: Arc<HashMap<JobId, PlannedJob>> =
            Arc::new(self.jobs.iter().map(|planned| (planned.id, planned.clone())).collect());
        let scripts = jobs.clone();
        World::new(
            move |_, slot| {
                let (job, attempt) = slot.as_str().rsplit_once('-').expect("a slot of a job");
                let job = JobId(Uuid::parse_str(job).expect("a job's id"));
                let creations = &jobs[&job].creations;
                creations[(attempt.parse::<usize>().expect("a number") - 1).min(creations.len() - 1)]
            },
            move |invocation| scripts[&invocation.job].script.clone(),
        )
    }

    fn counts(&self, journal: &MemoryJournal, refused: u64) -> Counts {
        let mut counts = Counts { crashes: self.crashes.len() as u64, ..Counts::default() };
        for job in journal.all_jobs() {
            let outcome = job.state.outcome().map_or("live", |outcome| match outcome {
                mgx_scheduler::Outcome::Failed(failure) => failure.name(),
                other => other.name().as_str(),
            });
            *counts.outcomes.entry(outcome.to_owned()).or_default() += 1;
            counts.started_again += u64::from(job.attempt.0 - 1);
        }
        if refused > 0 {
            counts.outcomes.insert("refused".to_owned(), refused);
        }
        for events in journal.all_events().values() {
            counts.events += events.len() as u64;
            counts.reattached +=
                events.iter().filter(|event| event.kind == EventKind::JobReattached).count() as u64;
        }
        counts
    }
}

/// Submits a job to the process that runs at its time, and cancels it if that is planned.
async fn play_job(
    planned: PlannedJob,
    begin: Instant,
    now: Arc<Mutex<Option<(Scheduler, Crash)>>>,
    refused: Arc<Mutex<Vec<JobId>>>,
    promised: Arc<Mutex<Vec<(JobId, State)>>>,
) {
    sleep_until(begin + planned.submitted).await;
    let (scheduler, crash) = current(&now).await;
    let spec = JobSpec {
        kind: Kind::Agent,
        prompt: "a page".to_owned(),
        command: Vec::new(),
        env: BTreeMap::new(),
        workdir: String::new(),
        limits: Limits { memory_bytes: 1 << 30, cpu_quota: 100_000, pids: 64 },
        timeout_s: planned.timeout_s,
        options: planned.options.clone(),
        continues: Vec::new(),
    };
    let submission = Submission { id: planned.id, session: planned.session, user: planned.user, spec };
    tokio::select! {
        answer = scheduler.submit(submission) => if answer.is_err() {
            refused.lock().expect("unpoisoned").push(planned.id);
            return;
        },
        // no answer: the job may be stored or not, and the user does not submit it again
        () = crash.cancelled() => {}
    }
    for at in planned.noted {
        let now = now.clone();
        tokio::spawn(async move {
            sleep_until(begin + at).await;
            let (scheduler, _) = current(&now).await;
            scheduler.record(planned.id, Attempt(1), EventKind::LlmUsage, usage()).await.ok();
        });
    }
    if let Some(at) = planned.cancelled {
        sleep_until(begin + at).await;
        let (scheduler, crash) = current(&now).await;
        tokio::select! {
            answer = scheduler.cancel(planned.id) => {
                if let Ok(CancelRequest::Requested(job) | CancelRequest::AlreadyRequested(job)) = answer {
                    promised.lock().expect("unpoisoned").push((job.id, job.state));
                }
            }
            () = crash.cancelled() => {}
        }
    }
}

/// What a reply of a model may have cost.
fn usage() -> Map<String, Value> {
    let counts = ["prompt_tokens", "completion_tokens", "total_requests", "total_tokens"];
    let counts = counts.map(|name| (name.to_owned(), Value::from(1)));
    counts.into_iter().chain([("model".to_owned(), Value::from("demo"))]).collect()
}

async fn current(now: &Mutex<Option<(Scheduler, Crash)>>) -> (Scheduler, Crash) {
    loop {
        if let Some(current) = now.lock().expect("unpoisoned").clone() {
            return current;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The number of containers of attempts that have none according to the journal.
async fn count_unwritten(journal: &MemoryJournal, world: &World) -> u64 {
    let listed = world.runtime().list().await.expect("a fake always answers");
    let waiting = journal.all_jobs().into_iter().filter(|job| job.state == State::Queued);
    let waiting: HashSet<_> = waiting.map(|job| SlotId::of(job.id, job.attempt)).collect();
    listed.iter().filter(|container| waiting.contains(&container.slot)).count() as u64
}

/// The wall clock, which goes on while the platform is down.
fn wall(begin: Instant) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::try_from(begin.elapsed()).expect("a short time")
}
