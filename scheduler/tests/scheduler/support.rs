//! A scheduler on an engine that fails on demand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_protocol::{Invocation, JobId, SlotId};
use mgx_runtimes::fake::{Act, Creation, Fake, OnStop, Script, World};
use mgx_runtimes::{
    ContainerSpec, EngineInfo, Limits, Listed, Placement, Run, Runtime, RuntimeError, RuntimeErrorKind,
};
use mgx_scheduler::memory::MemoryJournal;
use mgx_scheduler::{
    Blueprint, Caps, Clock, Config, Fairness, Job, JobSpec, Journal, Kind, Plan, Scheduler,
    SchedulingOptions, State, Submission, Uptime,
};
use mgx_testkit::FixedBlueprint;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// An engine that can go away, and counts what it is asked meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct FlakyEngine {
    pub(crate) inner: Fake,
    is_away: Arc<AtomicBool>,
    /// Calls while it was away.
    pub(crate) asked: Arc<AtomicU32>,
    /// How many of the next invocations fail.
    pub(crate) failing_invocations: Arc<AtomicU32>,
    /// It refuses to remove containers.
    pub(crate) keeps_containers: Arc<AtomicBool>,
}

impl FlakyEngine {
    fn check(&self) -> Result<(), RuntimeError> {
        if !self.is_away.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        Err(RuntimeError::new(RuntimeErrorKind::Unavailable, "the engine is away"))
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }
}

#[async_trait]
impl Runtime for FlakyEngine {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        self.check()?;
        self.inner.create(spec, placement).await
    }
    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        let fails = |left: u32| left.checked_sub(1);
        if self.failing_invocations.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
            return Err(RuntimeError::new(RuntimeErrorKind::NotReady, "the runner is not connected"));
        }
        self.inner.invoke(slot, invocation).await
    }
    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        self.check()?;
        self.inner.reattach(slot).await
    }
    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        self.check()?;
        if self.keeps_containers.load(Ordering::Relaxed) {
            return Err(RuntimeError::new(RuntimeErrorKind::Refused, "device or resource busy"));
        }
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

/// The same plan for every job; it panics for the prompt `panic`.
#[derive(Debug)]
struct PanickingBlueprint;

#[async_trait]
impl Blueprint for PanickingBlueprint {
    async fn plan(&self, job: &Job) -> Result<Plan, String> {
        assert_ne!(job.spec.prompt, "panic", "as the test asks");
        FixedBlueprint.plan(job).await
    }
}

/// A journal and an engine that outlive the schedulers on them.
pub(crate) struct Fixture {
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) world: World,
    pub(crate) engine: FlakyEngine,
}

impl Fixture {
    /// Jobs run for so many seconds.
    pub(crate) fn new(seconds: u64) -> Self {
        Self::scripted(move |_| {
            vec![(
                SECOND * u32::try_from(seconds).unwrap(),
                Act::Exit { code: 0, oom_kills: 0, reported: None },
            )]
        })
    }

    /// Each invocation does what `acts` says.
    pub(crate) fn scripted(
        acts: impl Fn(&Invocation) -> Vec<(Duration, Act)> + Send + Sync + 'static,
    ) -> Self {
        let world = World::new(
            |_, _| Creation::Ready(Duration::from_millis(100)),
            move |invocation| Script { acts: acts(invocation), on_stop: OnStop::Ends(Duration::ZERO) },
        );
        let engine = FlakyEngine {
            inner: world.runtime(),
            is_away: Arc::default(),
            asked: Arc::default(),
            failing_invocations: Arc::default(),
            keeps_containers: Arc::default(),
        };
        Self { journal: Arc::default(), world, engine }
    }

    pub(crate) async fn open(&self) -> Scheduler {
        self.reopen(Duration::ZERO).await
    }

    /// A scheduler that starts when so much time has passed since the first one.
    pub(crate) async fn reopen(&self, after: Duration) -> Scheduler {
        self.open_with(Caps::of(4), after).await.0
    }

    /// The same with other limits; and its clock.
    pub(crate) async fn open_with(&self, caps: Caps, after: Duration) -> (Scheduler, Clock) {
        let config = Config {
            caps,
            fairness: Fairness::default(),
            max_queued: 1000,
            max_queued_per_user: 1000,
            history: mgx_scheduler::HistoryLimit { events: 1000, bytes: 1 << 20 },
            history_per_job: mgx_scheduler::HistoryLimit { events: 1000, bytes: 1 << 20 },
            grace: SECOND,
            in_memory: 1_000,
            start_tries: 3,
            runtime: "fake".to_owned(),
            gives_up_jobs_of_other_runtimes: false,
            redactor: mgx_scheduler::Redactor::default(),
            max_provider_outage: 3600 * SECOND,
            reap_every: 30 * SECOND,
        };
        let now = Timestamp::UNIX_EPOCH.checked_add(after).unwrap();
        let clock = Clock::starting_at(now, Uptime::default());
        let engine = Arc::new(self.engine.clone());
        let blueprint = Arc::new(PanickingBlueprint);
        let scheduler =
            Scheduler::start(config, clock.clone(), self.journal.clone(), engine, blueprint).await;
        (scheduler.unwrap(), clock)
    }

    pub(crate) async fn state(&self, job: JobId) -> State {
        self.journal.job(job).await.unwrap().unwrap().state
    }
}

/// A job that works on `prompt`.
pub(crate) fn spec(prompt: &str) -> JobSpec {
    JobSpec {
        kind: Kind::Agent,
        prompt: prompt.to_owned(),
        command: Vec::new(),
        env: BTreeMap::new(),
        workdir: String::new(),
        limits: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
        timeout_s: 600,
        options: SchedulingOptions::default(),
        continues: Vec::new(),
    }
}

pub(crate) async fn submit(scheduler: &Scheduler, spec: JobSpec) -> JobId {
    let (session, user) = ("demo".parse().unwrap(), "ada".to_owned());
    scheduler.submit(Submission { id: JobId::new(), session, user, spec }).await.unwrap().job.id
}
