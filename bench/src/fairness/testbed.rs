//! The testbed: a real scheduler and store on a runtime that only holds slots, without HTTP. What runs is sampled.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use jiff::Timestamp;
use mgx_protocol::{Conversation, JobId, SessionId, SlotId, StateName, Team};
use mgx_runtimes::{ContainerSpec, Network, Null, OciRuntime, Runtime};
use mgx_scheduler::{Blueprint, Caps, Job, JobFilter, Plan, Scheduler, Submission};
use mgx_store::Embedded;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::cap_audit::CapAudit;
use super::history::{History, Step};
use super::workload::SimulatedJob;
use crate::Host;

/// The pause between two samples.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// How long jobs may wait to be admitted, once no more are submitted.
const TIMEOUT: Duration = Duration::from_mins(5);

/// How many events are read at a time.
const PAGE_EVENTS: usize = 1000;

/// A scheduler under load. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Testbed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scheduler: Scheduler,
    store: Arc<Embedded>,
    caps: Caps,
    jobs: Mutex<HashMap<JobId, SimulatedJob>>,
    closing: CancellationToken,
    sampling: Mutex<Option<tokio::task::JoinHandle<CapAudit>>>,
}

/// What ran at a time, and what the log says.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) audit: CapAudit,
    pub(super) history: History,
}

impl Testbed {
    /// Starts a scheduler with `caps`, and a store in `dir`.
    pub(super) async fn open(host: &dyn Host, caps: Caps, dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(dir)?;
        let store = Arc::new(Embedded::open(&dir.join("mgx.db"), Timestamp::now())?);
        let runtime = Null::default();
        let mut settings = host.scheduler_config();
        settings.caps = caps.clone();
        (settings.max_queued, settings.max_queued_per_user) = (usize::MAX >> 8, usize::MAX >> 8);
        let scheduler = Scheduler::start(
            settings,
            host.clock(),
            store.clone(),
            Arc::new(runtime.clone()),
            Arc::new(OneContainerSpec),
        )
        .await?;
        let (jobs, closing) = (Mutex::default(), CancellationToken::new());
        let testbed =
            Self(Arc::new(Inner { scheduler, store, caps, jobs, closing, sampling: Mutex::default() }));
        let sampling = tokio::spawn(testbed.clone().sample(runtime));
        *testbed.0.sampling.lock().unwrap_or_else(PoisonError::into_inner) = Some(sampling);
        Ok(testbed)
    }

    /// Submits jobs together.
    pub(super) async fn submit(&self, jobs: &[SimulatedJob]) -> anyhow::Result<()> {
        let ids: Vec<_> = jobs.iter().map(|_| JobId::new()).collect();
        self.jobs().extend(ids.iter().copied().zip(jobs.iter().copied()));
        let submission = |(id, job): (JobId, &SimulatedJob)| {
            let (session, user) = (session(job.user)?, user(job.user));
            anyhow::Ok(Submission { id, session, user, spec: job.spec() })
        };
        let submissions: Vec<_> = ids.into_iter().zip(jobs).map(submission).collect::<Result<_, _>>()?;
        for answer in self.0.scheduler.submit_all(submissions).await {
            answer?;
        }
        Ok(())
    }

    /// Waits until every job of the first `users` has been admitted.
    pub(super) async fn until_admitted(&self, users: usize) -> anyhow::Result<()> {
        let end = Instant::now() + TIMEOUT;
        for number in 0..users {
            let (user, state) = (Some(user(number)), Some(StateName::Queued));
            let queued = JobFilter { user, state, limit: 1, ..JobFilter::default() };
            while !self.0.scheduler.jobs(queued.clone()).await?.is_empty() {
                ensure!(Instant::now() < end, "the jobs of user {number} are not admitted");
                sleep(SAMPLE_EVERY).await;
            }
        }
        Ok(())
    }

    /// Shuts the scheduler down, and reads what its log says of the first `users`.
    pub(super) async fn close(self, users: usize) -> anyhow::Result<Recording> {
        let Inner { scheduler, store, caps, closing, sampling, .. } = &*self.0;
        let sampling = sampling.lock().unwrap_or_else(PoisonError::into_inner).take();
        closing.cancel();
        let mut audit = sampling.context("the testbed was closed before")?.await?;
        // the log is complete once nothing happens any more
        scheduler.shut_down(TIMEOUT).await;
        let mut steps = Vec::new();
        for number in 0..users {
            let session = session(number)?;
            let mut after = 0;
            loop {
                let page = scheduler.log().page(&session, after, PAGE_EVENTS).await?;
                let Some(last) = page.last() else { break };
                after = last.seq;
                steps.extend(
                    page.iter().filter_map(|event| Some((event.at, Step::of(&event.kind)?, event.job))),
                );
            }
        }
        store.close().await;
        let history = History::of(steps, self.jobs().clone());
        audit.add(&history.audit(caps));
        Ok(Recording { audit, history })
    }

    /// Samples the containers that exist, and the slots that are taken, until the testbed is closed.
    async fn sample(self, runtime: Null) -> CapAudit {
        let mut audit = CapAudit::default();
        let mut tick = interval(SAMPLE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.0.closing.run_until_cancelled(tick.tick()).await.is_some() {
            let listed = runtime.list().await.unwrap_or_default();
            let taken = self.0.scheduler.load().taken;
            let jobs = self.jobs();
            audit.add_sample(
                listed.iter().filter_map(|listed| jobs.get(&job_of(&listed.slot)?)),
                &self.0.caps,
            );
            audit.violations += u64::from(taken > self.0.caps.running);
        }
        audit
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, SimulatedJob>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn session(user: usize) -> anyhow::Result<SessionId> {
    Ok(format!("bench-{user}").parse()?)
}

fn user(user: usize) -> String {
    format!("user-{user}")
}

/// The job that the container was made for.
fn job_of(slot: &SlotId) -> Option<JobId> {
    let (job, _) = slot.as_str().rsplit_once('-')?;
    Some(JobId(job.parse().ok()?))
}

/// The same container for every job.
#[derive(Debug)]
struct OneContainerSpec;

#[async_trait]
impl Blueprint for OneContainerSpec {
    async fn plan(&self, job: &Job) -> Result<Plan, String> {
        Ok(Plan {
            spec: ContainerSpec {
                image: String::new(),
                limits: job.spec.limits,
                network: Network::None,
                oci_runtime: OciRuntime::Engines,
            },
            workspace: "bench".parse().map_err(|_| "no workspace".to_owned())?,
            workspace_dir: "/".into(),
            labels: BTreeMap::new(),
            env: BTreeMap::new(),
            team: Team::default(),
            conversation: Conversation::default(),
        })
    }
}
