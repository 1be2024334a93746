//! A platform that starts while its engine is away, and takes over when that comes back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_protocol::Invocation;
use mgx_protocol::{Attempt, JobId, SlotId, StateName};
use mgx_runtimes::fake::{Act, Creation, Fake, OnStop, Script, World};
use mgx_runtimes::{
    ContainerSpec, EngineInfo, Limits, Listed, Network, OciRuntime, Placement, Run, Runtime, RuntimeError,
    RuntimeErrorKind,
};
use mgx_scheduler::memory::MemoryJournal;
use mgx_scheduler::{
    Caps, Clock, Config, Fairness, JobSpec, Journal, Kind, Scheduler, State, Submission, Terms, Uptime,
    WaitsFor,
};
use mgx_testkit::FixedBlueprint;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// An engine that can go away, and counts what it is asked meanwhile.
#[derive(Clone, Debug)]
struct Moody {
    inner: Fake,
    is_away: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl Moody {
    fn check(&self) -> Result<(), RuntimeError> {
        if !self.is_away.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        Err(RuntimeError::new(RuntimeErrorKind::Unavailable, "the engine is away"))
    }

    fn go(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }
}

#[async_trait]
impl Runtime for Moody {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        self.check()?;
        self.inner.create(spec, placement).await
    }
    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        self.inner.invoke(slot, invocation).await
    }
    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        self.check()?;
        self.inner.reattach(slot).await
    }
    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        self.check()?;
        self.inner.remove(slot).await
    }
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.check()?;
        self.inner.list().await
    }
    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.check()?;
        self.inner.info().await
    }
}

/// A journal and an engine that outlive the platforms on them.
struct House {
    journal: Arc<MemoryJournal>,
    world: World,
    engine: Moody,
}

impl House {
    /// Jobs run for so many seconds.
    fn new(seconds: u64) -> Self {
        let world = World::new(
            |_, _| Creation::Ready(Duration::from_millis(100)),
            move |_| Script {
                acts: vec![(
                    SECOND * u32::try_from(seconds).unwrap(),
                    Act::Exit { code: 0, oom_kills: 0, reported: None },
                )],
                on_stop: OnStop::Ends(Duration::ZERO),
            },
        );
        let engine = Moody { inner: world.runtime(), is_away: Arc::default(), asked: Arc::default() };
        Self { journal: Arc::default(), world, engine }
    }

    async fn open(&self) -> Scheduler {
        let config = Config {
            caps: Caps::of(4),
            fairness: Fairness::default(),
            max_queued: 1000,
            max_queued_per_user: 1000,
            history: mgx_scheduler::HistoryLimit { events: 1000, bytes: 1 << 20 },
            grace: SECOND,
            in_memory: 1_000,
            start_tries: 3,
            redactor: mgx_scheduler::Redactor::default(),
            reap_every: 30 * SECOND,
        };
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, Uptime::default());
        let engine = Arc::new(self.engine.clone());
        Scheduler::start(config, clock, self.journal.clone(), engine, Arc::new(FixedBlueprint)).await.unwrap()
    }

    async fn state(&self, job: JobId) -> State {
        self.journal.job(job).await.unwrap().unwrap().state
    }
}

async fn submit(scheduler: &Scheduler) -> JobId {
    let spec = JobSpec {
        kind: Kind::Agent,
        prompt: "a page".to_owned(),
        command: Vec::new(),
        env: BTreeMap::new(),
        workdir: String::new(),
        limits: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
        timeout_s: 600,
        terms: Terms::default(),
    };
    let (session, user) = ("demo".parse().unwrap(), "ada".to_owned());
    scheduler.submit(Submission { id: JobId::new(), session, user, spec }).await.unwrap().job.id
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_accepted_and_held_until_the_engine_is_there() {
    let house = House::new(1);
    house.engine.go(true);
    let scheduler = house.open().await;
    let mut jobs = Vec::new();
    for _ in 0..100 {
        jobs.push(submit(&scheduler).await);
    }
    sleep(60 * SECOND).await;
    assert_eq!(house.state(jobs[0]).await, State::Queued);
    let explained = scheduler.explain(jobs[0]).await.unwrap().unwrap();
    assert_eq!(explained.waits_for, WaitsFor::Engine);
    assert!(explained.remedy.is_some_and(|remedy| remedy.contains("mgx doctor")));
    let asked = house.engine.asked.load(Ordering::Relaxed);
    assert!((1..=80).contains(&asked), "a hundred jobs wait, and one asks: {asked} questions in a minute");

    house.engine.go(false);
    let back = Instant::now();
    let handover = timeout(5 * SECOND, scheduler.handover()).await.unwrap();
    assert!(handover.engine_was_away && handover.listed_after_ms >= 60_000, "{handover}");
    while house.world.container_count() == 0 {
        sleep(SECOND / 100).await;
    }
    assert!(back.elapsed() <= 3 * SECOND, "it starts soon: after {:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_disturbs_nobody_who_runs_and_holds_who_waits() {
    let house = House::new(30);
    let scheduler = house.open().await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(submit(&scheduler).await);
    }
    sleep(SECOND).await;
    let waits = submit(&scheduler).await;
    house.engine.go(true);
    sleep(60 * SECOND).await;
    for job in &runs {
        assert_eq!(house.state(*job).await.name(), StateName::Succeeded, "its end came over the link");
    }
    assert_eq!(house.state(waits).await, State::Queued, "the containers that ended hold their slots");
    house.engine.go(false);
    sleep(40 * SECOND).await;
    assert_eq!(house.state(waits).await.name(), StateName::Succeeded);
    assert_eq!(house.world.container_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_counts_what_went_on_what_had_ended_and_what_was_lost() {
    let house = House::new(300);
    let before = house.open().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(submit(&before).await);
    }
    sleep(SECOND).await;
    let waits = submit(&before).await;
    before.shut_down(SECOND).await;

    let slot = |job: JobId| SlotId::of(job, Attempt(1));
    house.world.kill(&slot(jobs[1]));
    house.engine.inner.remove(&slot(jobs[2])).await.unwrap();
    // a crash between the making of a container and the note that says so
    let spec = ContainerSpec {
        image: "fake".to_owned(),
        limits: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
        network: Network::None,
        oci_runtime: OciRuntime::Engines,
    };
    let stray = SlotId::of(JobId::new(), Attempt(1));
    for slot in [slot(waits), stray.clone()] {
        house
            .engine
            .inner
            .create(&spec, &Placement { slot, workspace: None, labels: BTreeMap::new() })
            .await
            .unwrap();
    }

    let after = house.open().await;
    let handover = timeout(5 * SECOND, after.handover()).await.unwrap();
    assert_eq!(
        handover.to_string().split("; in ").next(),
        Some(
            "jobs: 2 go on, 1 had ended, 1 lost, 0 started again, 1 wait; containers: 1 cleared away, 1 orphaned"
        )
    );
    sleep(SECOND).await;
    assert_eq!(house.state(jobs[0]).await.name(), StateName::Running);
    assert_eq!(house.state(jobs[1]).await.reason(), Some("runtime_lost"));
    assert_eq!(house.state(jobs[2]).await.reason(), Some("runtime_lost"));
    assert_eq!(house.state(waits).await.name(), StateName::Running, "nothing was in its way");
    assert_eq!(
        house.journal.job(waits).await.unwrap().unwrap().attempt,
        Attempt(1),
        "nor cost it an attempt"
    );
    let has =
        async |slot: &SlotId| house.engine.inner.list().await.unwrap().iter().any(|it| it.slot == *slot);
    assert!(has(&stray).await, "an orphan has some grace");
    sleep(70 * SECOND).await;
    assert!(!has(&stray).await, "and then it goes");
}
