//! A platform without a door: scheduler, store and the runtime that only holds, watched while it works.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use jiff::Timestamp;
use mgx_protocol::Team;
use mgx_protocol::{JobId, SessionId, SlotId, StateName};
use mgx_runtimes::{ContainerSpec, Network, Null, OciRuntime, Runtime};
use mgx_scheduler::{Blueprint, Caps, Clock, Job, JobFilter, Plan, Redactor, Scheduler, Submission};
use mgx_store::Embedded;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::audit::{Audit, Step, Story};
use super::orders::Order;
use crate::assemble::{scheduler_config, uptime};
use crate::config::Config;

/// How often it is looked what runs.
const LOOK: Duration = Duration::from_millis(5);

/// How long what was submitted may wait for its turn, once nothing more comes.
const PATIENCE: Duration = Duration::from_mins(5);

/// How many events are read at a time.
const PAGE: usize = 1000;

/// The platform. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct House(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scheduler: Scheduler,
    store: Arc<Embedded>,
    caps: Caps,
    orders: Mutex<HashMap<JobId, Order>>,
    closing: CancellationToken,
    watch: Mutex<Option<tokio::task::JoinHandle<Audit>>>,
}

/// What was seen, and what the journal says.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) audit: Audit,
    pub(super) story: Story,
}

impl House {
    /// A new one in `dir`.
    pub(super) async fn open(config: &Config, caps: Caps, dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(dir)?;
        let store = Arc::new(Embedded::open(&dir.join("mgx.db"), Timestamp::now())?);
        let runtime = Null::default();
        let mut settings = scheduler_config(config, Redactor::default());
        settings.caps = caps.clone();
        (settings.max_queued, settings.max_queued_per_user) = (usize::MAX >> 8, usize::MAX >> 8);
        let clock = Clock::starting_at(Timestamp::now(), uptime());
        let scheduler =
            Scheduler::start(settings, clock, store.clone(), Arc::new(runtime.clone()), Arc::new(Boxes))
                .await?;
        let (orders, closing) = (Mutex::default(), CancellationToken::new());
        let house =
            Self(Arc::new(Inner { scheduler, store, caps, orders, closing, watch: Mutex::default() }));
        let watch = tokio::spawn(house.clone().watch(runtime));
        *house.0.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
        Ok(house)
    }

    /// Submits jobs together.
    pub(super) async fn submit(&self, orders: &[Order]) -> anyhow::Result<()> {
        let ids: Vec<_> = orders.iter().map(|_| JobId::new()).collect();
        self.orders().extend(ids.iter().copied().zip(orders.iter().copied()));
        let submission = |(id, order): (JobId, &Order)| {
            let (session, user) = (session(order.user)?, user(order.user));
            anyhow::Ok(Submission { id, session, user, spec: order.spec() })
        };
        let submissions: Vec<_> = ids.into_iter().zip(orders).map(submission).collect::<Result<_, _>>()?;
        for answer in self.0.scheduler.submit_all(submissions).await {
            answer?;
        }
        Ok(())
    }

    /// Waits until every job of the first `users` has had its turn.
    pub(super) async fn settled(&self, users: usize) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        for number in 0..users {
            let (user, state) = (Some(user(number)), Some(StateName::Queued));
            let queued = JobFilter { user, state, limit: 1, ..JobFilter::default() };
            while !self.0.scheduler.jobs(queued.clone()).await?.is_empty() {
                ensure!(Instant::now() < end, "the jobs of user {number} do not get their turns");
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Closes it, and tells what was seen and what its journal says of the first `users`.
    pub(super) async fn close(self, users: usize) -> anyhow::Result<Told> {
        let Inner { scheduler, store, caps, closing, watch, .. } = &*self.0;
        let watch = watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        closing.cancel();
        let mut audit = watch.context("it was closed before")?.await?;
        // whatever is read while something still happens would be told only in part
        scheduler.shut_down(PATIENCE).await;
        let mut steps = Vec::new();
        for number in 0..users {
            let session = session(number)?;
            let mut after = 0;
            loop {
                let page = scheduler.log().page(&session, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.seq;
                steps.extend(
                    page.iter().filter_map(|event| Some((event.at, Step::of(&event.kind)?, event.job))),
                );
            }
        }
        store.close().await;
        let story = Story::of(steps, self.orders().clone());
        audit.add(&story.audit(caps));
        Ok(Told { audit, story })
    }

    /// Looks at the containers that are there, and at the slots that are taken, again and again.
    async fn watch(self, runtime: Null) -> Audit {
        let mut audit = Audit::default();
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.0.closing.run_until_cancelled(tick.tick()).await.is_some() {
            let listed = runtime.list().await.unwrap_or_default();
            let taken = self.0.scheduler.load().taken;
            let orders = self.orders();
            audit.look(listed.iter().filter_map(|listed| orders.get(&job_of(&listed.slot)?)), &self.0.caps);
            audit.violations += u64::from(taken > self.0.caps.running);
        }
        audit
    }

    fn orders(&self) -> MutexGuard<'_, HashMap<JobId, Order>> {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn session(user: usize) -> anyhow::Result<SessionId> {
    Ok(format!("bench-{user}").parse()?)
}

fn user(user: usize) -> String {
    format!("user-{user}")
}

/// The job whose container it is.
fn job_of(slot: &SlotId) -> Option<JobId> {
    let (job, _) = slot.as_str().rsplit_once('-')?;
    Some(JobId(job.parse().ok()?))
}

/// Every job in the same box.
#[derive(Debug)]
struct Boxes;

#[async_trait]
impl Blueprint for Boxes {
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
        })
    }
}
