//! The platform, put together: the only place that names concrete types.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use mgx_api::{AdminToken, App, EngineProbe, Gate, Imports, JobRules, Pools, StreamBounds, Streams};
use mgx_apps::{AppIdentity, AttemptTokens, Idempotency, Isolation, JobBlueprint, Retention, Sessions};
use mgx_llm::{
    DEMO_MODEL, LlmConfig, LlmLimits, LlmProxy, Price, ProviderConfig, RetryConfig, Timeouts, TunnelLimits,
    serve_tunnels,
};
use mgx_oauth2::Provider;
use mgx_policies::{Admission, Allowance, MonotonicClock, Policies, Rate, Times};
use mgx_protocol::Team;
use mgx_runtimes::{Limits, Pool, Runtime, Tunnel};
use mgx_scheduler::{
    Budget, Caps, Clock, Fairness, Handover, HistoryLimit, Kind, Redactor, Scheduler, Uptime,
};
use mgx_workspaces::{Workspaces, WorkspacesConfig};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{Config, ModelPrice};
use crate::data_dir;
use crate::engine::{Engine, engine, owner};
use crate::image::WithImage;
use crate::llm::{PlatformAttempts, SessionUsage};
use crate::logging;
use crate::store::Store;

/// Connections to the LLM proxy that may wait to be served.
const TUNNELS: usize = 256;

/// How often a missing engine is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What stands between the scheduler and its runtime: given the runtime, and the warm pool if it is one, it returns what
/// the scheduler sees.
pub type Lens = Box<dyn Fn(Arc<dyn Runtime>, Option<&Arc<Pool>>) -> Arc<dyn Runtime> + Send + Sync>;

/// A platform that is ready to serve.
#[derive(Debug)]
pub struct Platform {
    /// Every route.
    pub router: Router,
    closing: CancellationToken,
    scheduler: Scheduler,
    pool: Option<Arc<Pool>>,
    tunnels: CancellationToken,
    tasks: TaskTracker,
}

impl Platform {
    /// Takes up what an earlier process left in `store`, and gets ready to serve until `closing`. The engine may be
    /// missing. Callers are known to `provider`. The scheduler sees the runtime through `lens`, if there is one.
    ///
    /// # Errors
    /// What the operator has to change.
    pub async fn assemble(
        config: &Config,
        store: &Store,
        provider: Arc<Provider>,
        lens: Option<&Lens>,
        closing: CancellationToken,
    ) -> anyhow::Result<Self> {
        let Parts { tokens, sessions, identities, blueprint, token, redactor } = parts(config, store)?;
        let (tunnels_in, tunnels_out) = mpsc::channel(TUNNELS);
        let Engine { mut runtime, image, pool } = engine(config, store.instance(), tunnels_in)?;
        if let Some(lens) = lens {
            runtime = lens(runtime, pool.as_ref());
        }
        let scheduler = Scheduler::start(
            scheduler_config(config, redactor),
            Clock::starting_at(Timestamp::now(), uptime()),
            store.journal(),
            runtime.clone(),
            Arc::new(blueprint),
        )
        .await?;
        let attempts = Arc::new(PlatformAttempts { tokens, scheduler: scheduler.clone() });
        let proxy = LlmProxy::new(llm_config(config), attempts, Arc::new(SessionUsage(store.sessions())))?;
        let gate = Gate::new(token, provider);
        let app = app(
            config,
            store,
            scheduler.clone(),
            (sessions.clone(), identities),
            runtime,
            gate,
            closing.clone(),
        );
        let idempotency = app.idempotency.clone();
        let pools = pool.clone().map_or_else(Pools::none, |pool| Pools::of(move || pool.report()));
        let platform = Self {
            router: mgx_api::router(App { pools, ..app }),
            closing,
            scheduler,
            pool,
            tunnels: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        platform.serve_tunnels(tunnels_out, proxy);
        platform.tasks.spawn(idempotency.sweep(platform.closing.clone()));
        if let Some(retention) = Retention::new(store.archive(), config.retention.events.duration()) {
            platform.tasks.spawn(retention.sweep(platform.closing.clone()));
        }
        if let Some(image) = image {
            platform.prepare(image);
        }
        platform.sweep(sessions);
        Ok(platform)
    }

    /// The warm pool, if there is one.
    pub fn pool(&self) -> Option<Arc<Pool>> {
        self.pool.clone()
    }

    /// What was taken over from the process before, as soon as it is.
    pub fn handover(&self) -> impl Future<Output = Handover> + Send + use<> {
        let scheduler = self.scheduler.clone();
        async move { scheduler.handover().await }
    }

    /// Refuses new jobs and ends the event streams; what is being answered is answered.
    pub fn drain(&self) {
        self.scheduler.drain();
        self.closing.cancel();
    }

    /// Lets go of everything, within `patience`. Containers go on running.
    pub async fn shut_down(&self, patience: Duration) {
        self.drain();
        self.scheduler.shut_down(patience).await;
        self.tunnels.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            info!("shutting down before every connection to the model has ended");
        }
    }

    /// Serves the LLM proxy to the containers.
    fn serve_tunnels(&self, mut tunnels: mpsc::Receiver<Tunnel>, proxy: LlmProxy) {
        info!(model = proxy.default_model(), demo = proxy.is_demo(), "the model that agents speak to");
        let ended = self.tunnels.child_token();
        let tunnels =
            stream::poll_fn(move |cx| tunnels.poll_recv(cx)).map(|Tunnel { slot, stream }| (slot, stream));
        self.tasks.spawn(serve_tunnels(tunnels, proxy, TunnelLimits::default(), ended));
    }

    /// What need not be waited for: the image, as soon as the engine is there.
    fn prepare(&self, runtime: Arc<WithImage>) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            let prepare = async {
                while let Err(error) = runtime.prepare().await {
                    warn!(%error, "the agent image is not ready; jobs wait");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            };
            tokio::select! {
                () = prepare => {}
                () = closing.cancelled() => {}
            }
        });
    }

    /// Clears away leftovers of a crash, meanwhile.
    fn sweep(&self, sessions: Sessions) {
        self.tasks.spawn(async move {
            match sessions.workspaces().sweep().await {
                Ok(0) => {}
                Ok(count) => info!(count, "cleared away workspaces that a crash left half made"),
                Err(error) => warn!(%error, "cannot clear away what a crash may have left"),
            }
        });
    }
}

/// What every process of a platform has of it, whether it schedules or not.
pub(crate) struct Parts {
    pub(crate) tokens: AttemptTokens,
    pub(crate) sessions: Sessions,
    pub(crate) identities: AppIdentity,
    pub(crate) blueprint: JobBlueprint,
    pub(crate) token: AdminToken,
    pub(crate) redactor: Redactor,
}

/// Makes them, or finds them in the data directory.
///
/// # Errors
/// What the operator has to change.
pub(crate) fn parts(config: &Config, store: &Store) -> anyhow::Result<Parts> {
    let data = &config.server.data_dir;
    data_dir::make(data).with_context(|| format!("cannot make the data directory {}", data.display()))?;
    let token = data_dir::admin_token(data)?;
    let tokens = AttemptTokens::load_or_create(&data.join("attempt.key"))?;
    let sessions = Sessions::new(store.sessions(), workspaces(config)?);
    let identities = AppIdentity::load_or_create(&data.join("app.key"), &config.public_url())?;
    let blueprint = JobBlueprint {
        sessions: sessions.clone(),
        tokens: tokens.clone(),
        identities: identities.clone(),
        image: config.agent.image.clone(),
        isolation: isolation(config),
        team: team(config)?,
    };
    let (redactor, token) = (logging::redactor(config, Some(&token)), AdminToken::new(&token));
    Ok(Parts { tokens, sessions, identities, blueprint, token, redactor })
}

/// The platform as the HTTP surface sees it, without warm pools.
pub(crate) fn app(
    config: &Config,
    store: &Store,
    scheduler: Scheduler,
    (sessions, identities): (Sessions, AppIdentity),
    runtime: Arc<dyn Runtime>,
    gate: Gate,
    closing: CancellationToken,
) -> App {
    App {
        admission: Admission::new(policies(config), scheduler.clone(), MonotonicClock),
        scheduler,
        sessions,
        identities,
        engine: EngineProbe::new(runtime),
        pools: Pools::none(),
        gate,
        is_provider: config.server.roles.oauth2,
        rules: rules(config),
        idempotency: Idempotency::new(store.intents()),
        imports: Imports::new(store.archive()),
        streams: Streams::new(stream_bounds(config)),
        closing,
    }
}

/// How long the machine has been up. One that does not tell its boot id counts as never started again.
pub(crate) fn uptime() -> Uptime {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let passed = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Uptime {
        boot: boot.trim().parse().unwrap_or_default(),
        passed: Duration::try_from(passed).unwrap_or_default(),
    }
}

fn workspaces(config: &Config) -> anyhow::Result<Workspaces> {
    let root = config.workspaces.root.clone();
    let host_root = Some(config.workspaces.host_root.clone()).filter(|host| *host != root);
    let max_file_bytes = config.workspaces.max_file.bytes();
    Ok(Workspaces::with_config(WorkspacesConfig { root, host_root, owner: owner(), max_file_bytes })?)
}

/// What separates each kind of job from the host.
fn isolation(config: &Config) -> Isolation {
    let crate::config::Isolation { agent, dev, build } = config.isolation;
    Isolation { agent, dev, build }
}

/// The team; with the demo model, its roles say so.
fn team(config: &Config) -> anyhow::Result<Team> {
    let mut team = config.agents.clone();
    if llm_config(config).provider.is_none() {
        DEMO_MODEL.clone_into(&mut team.default_model);
    }
    Ok(team.team()?)
}

/// How many of the jobs that wait are kept in memory as a whole: enough that nobody's turn waits for the store as long
/// as the line is short.
const IN_MEMORY: usize = 256;

/// What the scheduler is told.
pub(crate) fn scheduler_config(config: &Config, redactor: Redactor) -> mgx_scheduler::config::Config {
    let history = &config.history;
    mgx_scheduler::config::Config {
        caps: caps(config),
        fairness: Fairness {
            weights: config.weights.iter().map(|(user, weight)| (user.clone(), weight.small())).collect(),
            ageing: config.scheduler.ageing.duration(),
            patience: config.scheduler.patience.duration(),
        },
        max_queued: config.queue.max_queued.count(),
        max_queued_per_user: config.queue.max_queued_per_user.count(),
        history: HistoryLimit { events: history.max_events.get(), bytes: history.max_bytes.bytes() },
        grace: config.agent.grace.duration(),
        in_memory: IN_MEMORY,
        start_tries: config.scheduler.start_tries.small(),
        redactor,
        reap_every: config.scheduler.reap_every.duration(),
    }
}

fn caps(config: &Config) -> Caps {
    let (quotas, kinds) = (&config.quotas, &config.kinds);
    let per_kind = [(Kind::Agent, kinds.agent), (Kind::Dev, kinds.dev), (Kind::Build, kinds.build)];
    Caps {
        per_user: quotas.user_jobs.count(),
        per_kind: per_kind.map(|(kind, running)| (kind, running.count())).into(),
        host: Budget {
            memory_bytes: quotas.host_memory.bytes(),
            cpu_quota: quotas.host_cpu_quota.get(),
            pids: quotas.host_pids.get(),
        },
        user: Budget {
            memory_bytes: quotas.user_memory.bytes(),
            cpu_quota: quotas.user_cpu_quota.get(),
            pids: quotas.user_pids.get(),
        },
        session: Budget {
            memory_bytes: quotas.session_memory.bytes(),
            cpu_quota: quotas.session_cpu_quota.get(),
            pids: quotas.session_pids.get(),
        },
        ..Caps::of(config.scheduler.max_running.count())
    }
}

/// What a job gets, and the most it may ask for.
pub(crate) fn rules(config: &Config) -> JobRules {
    let agent = &config.agent;
    let pids = agent.pids.small();
    JobRules {
        default_limits: Limits { memory_bytes: agent.memory.bytes(), cpu_quota: agent.cpu_quota.get(), pids },
        max_limits: Limits {
            memory_bytes: agent.max_memory.bytes(),
            cpu_quota: agent.max_cpu_quota.get(),
            pids,
        },
        times: times(config),
    }
}

fn stream_bounds(config: &Config) -> StreamBounds {
    let crate::config::Streams { per_session, per_user, in_all } = config.streams;
    StreamBounds { per_session: per_session.count(), per_user: per_user.count(), in_all: in_all.count() }
}

fn times(config: &Config) -> Times {
    Times {
        run_s: config.agent.timeout.seconds(),
        max_run_s: config.agent.max_timeout.seconds(),
        wait_s: Some(config.queue.ttl.seconds()).filter(|seconds| *seconds > 0),
        max_wait_s: config.queue.max_ttl.seconds(),
    }
}

fn policies(config: &Config) -> Policies {
    let (llm, rate) = (&config.llm, &config.rate);
    let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Policies {
        times: times(config),
        caps: caps(config),
        allowance: Allowance {
            requests: llm.max_requests_per_session.get(),
            tokens: llm.max_tokens_per_session.get(),
            cost_micros: llm.max_cost_per_session.micros(),
        },
        rate: Rate {
            per_minute: at_least_one(rate.per_minute.small()),
            burst: at_least_one(rate.burst.small()),
        },
    }
}

fn llm_config(config: &Config) -> LlmConfig {
    let llm = &config.llm;
    let base_url = Some(llm.base_url.clone()).filter(|url| !url.is_empty());
    LlmConfig {
        provider: ProviderConfig::of(base_url, llm.api_key.get().cloned()),
        default_model: config.agents.default_model.clone(),
        models: llm.models.clone(),
        limits: LlmLimits {
            max_requests: llm.max_requests_per_session.get(),
            max_tokens: llm.max_tokens_per_session.get(),
            max_cost_micros: llm.max_cost_per_session.micros(),
            requests_per_minute: llm.max_requests_per_minute.small(),
        },
        prices: llm.prices.iter().map(|(model, price)| (model.clone(), price_of(*price))).collect(),
        retry: RetryConfig { max_tries: llm.retries.count() + 1, ..RetryConfig::default() },
        timeouts: Timeouts::default(),
        demo_pace: llm.demo_pace.duration(),
    }
}

fn price_of(price: ModelPrice) -> Price {
    Price { input_micros: price.input_per_million.micros(), output_micros: price.output_per_million.micros() }
}
