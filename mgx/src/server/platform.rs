//! The platform, put together: the only place that names concrete types.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use mgx_api::{AdminToken, App, EngineProbe, Gate, Imports, Pools, Scheduling, StoreProbe, Streams};
use mgx_apps::{AppIdentity, AttemptTokens, Idempotency, JobBlueprint, Language, Retention, Sessions};
use mgx_llm::{LlmProxy, TunnelLimits, serve_tunnels};
use mgx_oauth2::Provider;
use mgx_policies::{Admission, MonotonicClock};
use mgx_runtimes::{Pool, Runtime, RuntimeErrorKind, Tunnel};
use mgx_scheduler::{Clock, JobReader, RecoveryReport, Redactor, Scheduler, StartError, Uptime};
use mgx_workspaces::{Workspaces, WorkspacesConfig};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::llm::{PlatformAttempts, SessionUsage};
use super::logging;
use crate::config::Config;
use crate::data_dir;
use crate::engine::{self, Engine, users};
use crate::image::WithImage;
use crate::settings;
use crate::store::Store;

/// How many connections from containers to the LLM proxy may wait until they are accepted.
const TUNNEL_BACKLOG: usize = 256;

/// How long to wait before the agent image is made again after a failure.
const IMAGE_RETRY_PAUSE: Duration = Duration::from_secs(2);

/// The same if the engine has answered: the operator has to change something first.
const IMAGE_REFUSED_PAUSE: Duration = Duration::from_mins(1);

/// How often the agent images of earlier builds are looked for.
const IMAGE_SWEEP_PAUSE: Duration = Duration::from_mins(10);

/// Decorates the runtime before the scheduler sees it. Takes the runtime, and the warm pool if that runtime is one.
pub type RuntimeDecorator =
    Box<dyn Fn(Arc<dyn Runtime>, Option<&Arc<Pool>>) -> Arc<dyn Runtime> + Send + Sync>;

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
    /// Recovers the jobs that an earlier process left in `store`, and gets ready to serve until `closing` is cancelled.
    /// The engine need not answer yet. `provider` authenticates the callers; `decorate` is put around the runtime.
    ///
    /// # Errors
    /// The error says what the operator has to change.
    pub async fn assemble(
        config: &Config,
        store: &Store,
        provider: Arc<Provider>,
        decorate: Option<&RuntimeDecorator>,
        closing: CancellationToken,
    ) -> anyhow::Result<Self> {
        let workspace_owner = users::workspace_owner(config).await;
        let Parts { tokens, sessions, identities, mut blueprint, admin_token, redactor } =
            parts(config, store, workspace_owner)?;
        let (tunnels_in, tunnels_out) = mpsc::channel(TUNNEL_BACKLOG);
        let Engine { mut runtime, image_name, image, pool } =
            engine::engine(config, store.instance(), tunnels_in, workspace_owner)?;
        blueprint.image = image_name;
        if let Some(decorate) = decorate {
            runtime = decorate(runtime, pool.as_ref());
        }
        let clock = Clock::starting_at(Timestamp::now(), uptime());
        tokio::spawn(closing.clone().run_until_cancelled_owned(clock.clone().follow(Timestamp::now)));
        let scheduler = Scheduler::start(
            settings::scheduler_config(config, engine::address(config), redactor),
            clock,
            store.journal(),
            runtime.clone(),
            Arc::new(blueprint),
        )
        .await
        .map_err(for_operators)?;
        let attempts = Arc::new(PlatformAttempts { tokens, scheduler: scheduler.clone() });
        let proxy =
            LlmProxy::new(settings::llm_config(config), attempts, Arc::new(SessionUsage(store.sessions())))?;
        let gate = Gate::new(admin_token, provider);
        let scheduling = Scheduling {
            admission: Admission::new(settings::policies(config), scheduler.clone(), MonotonicClock),
            scheduler: scheduler.clone(),
            engine: EngineProbe::new(runtime),
            pools: pool.clone().map_or_else(Pools::none, |pool| Pools::of(move || pool.report())),
        };
        let app = app(
            config,
            store,
            scheduler.reader().clone(),
            Some(scheduling),
            (sessions.clone(), identities),
            gate,
            closing.clone(),
        );
        let idempotency = app.idempotency.clone();
        let platform = Self {
            router: mgx_api::router(app),
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
            platform.prepare_image(image);
        }
        platform.clear_half_made_workspaces(sessions);
        Ok(platform)
    }

    /// The warm pool, if there is one.
    pub fn pool(&self) -> Option<Arc<Pool>> {
        self.pool.clone()
    }

    /// Resolves with what was taken over from the process before, once that is done.
    pub fn handover(&self) -> impl Future<Output = RecoveryReport> + Send + use<> {
        let scheduler = self.scheduler.clone();
        async move { scheduler.recovery().await }
    }

    /// Refuses new jobs and ends the event streams. Requests that are under way are still answered.
    pub fn drain(&self) {
        self.scheduler.drain();
        self.closing.cancel();
    }

    /// Ends every task of this process, and waits for each group of them no longer than `timeout`. Containers go on
    /// running.
    pub async fn shut_down(&self, timeout: Duration) {
        self.drain();
        self.scheduler.shut_down(timeout).await;
        self.tunnels.cancel();
        self.tasks.close();
        if tokio::time::timeout(timeout, self.tasks.wait()).await.is_err() {
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

    /// Makes the agent image in the background, as soon as the engine answers, and removes those of earlier builds once no
    /// container uses them.
    fn prepare_image(&self, runtime: Arc<WithImage>) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            let prepare = async {
                while let Err(error) = runtime.prepare().await {
                    warn!(%error, "the agent image is not ready");
                    let is_away =
                        matches!(error.kind(), RuntimeErrorKind::Unavailable | RuntimeErrorKind::Deadline);
                    tokio::time::sleep(if is_away { IMAGE_RETRY_PAUSE } else { IMAGE_REFUSED_PAUSE }).await;
                }
                loop {
                    if let Err(error) = runtime.remove_older().await {
                        debug!(%error, "cannot look for older agent images");
                    }
                    tokio::time::sleep(IMAGE_SWEEP_PAUSE).await;
                }
            };
            tokio::select! {
                () = prepare => {}
                () = closing.cancelled() => {}
            }
        });
    }

    /// Removes, in the background, the workspaces that a crash left half made.
    fn clear_half_made_workspaces(&self, sessions: Sessions) {
        self.tasks.spawn(async move {
            match sessions.workspaces().sweep().await {
                Ok(0) => {}
                Ok(count) => info!(count, "cleared away workspaces that a crash left half made"),
                Err(error) => warn!(%error, "cannot clear away what a crash may have left"),
            }
        });
    }
}

/// A failed start, with what the operator can do.
fn for_operators(error: StartError) -> anyhow::Error {
    match error {
        StartError::Journal(error) => error.into(),
        StartError::OtherRuntime { ref runtime, .. } => anyhow::anyhow!(
            "{error}: start with that runtime until they have ended, or give them up with `mgx up --give-up-jobs` \
             (their containers stay at {runtime})"
        ),
    }
}

/// What every process of a platform has, whether it schedules or not.
pub(crate) struct Parts {
    pub(crate) tokens: AttemptTokens,
    pub(crate) sessions: Sessions,
    pub(crate) identities: AppIdentity,
    pub(crate) blueprint: JobBlueprint,
    pub(crate) admin_token: AdminToken,
    pub(crate) redactor: Redactor,
}

/// Reads the keys of the data directory, or makes them at the first start, and puts the parts together. Files of workspaces belong to `workspace_owner`.
///
/// # Errors
/// The error says what the operator has to change.
pub(crate) fn parts(config: &Config, store: &Store, workspace_owner: (u32, u32)) -> anyhow::Result<Parts> {
    let data = &config.server.data_dir;
    data_dir::make(data).with_context(|| format!("cannot make the data directory {}", data.display()))?;
    let admin_token = data_dir::admin_token(data)?;
    let tokens = AttemptTokens::load_or_create(&data.join(data_dir::ATTEMPT_KEY))?;
    let sessions = Sessions::new(store.sessions(), workspaces(config, workspace_owner)?);
    let identities = AppIdentity::load_or_create(&data.join(data_dir::APP_KEY), &config.public_url())?;
    let blueprint = JobBlueprint {
        sessions: sessions.clone(),
        tokens: tokens.clone(),
        identities: identities.clone(),
        image: config.agent.image.clone(),
        isolation: settings::isolation(config),
        teams: [settings::team(config, Language::En)?, settings::team(config, Language::Zh)?],
    };
    let redactor = logging::redactor(config, Some(&admin_token));
    let admin_token = AdminToken::new(&admin_token);
    Ok(Parts { tokens, sessions, identities, blueprint, admin_token, redactor })
}

/// The platform as the HTTP API sees it, without warm pools.
pub(crate) fn app(
    config: &Config,
    store: &Store,
    jobs: JobReader,
    scheduling: Option<Scheduling>,
    (sessions, identities): (Sessions, AppIdentity),
    gate: Gate,
    closing: CancellationToken,
) -> App {
    let checked = store.clone();
    App {
        jobs,
        store: StoreProbe::of(move || {
            let store = checked.clone();
            async move { store.check_writable().await }
        }),
        scheduling,
        sessions,
        identities,
        gate,
        is_provider: config.server.roles.oauth2,
        rules: settings::job_rules(config),
        idempotency: Idempotency::new(store.intents()),
        imports: Imports::new(store.archive()),
        streams: Streams::new(settings::stream_bounds(config)),
        closing,
    }
}

/// The workspaces, whose files belong to `owner`.
fn workspaces(config: &Config, owner: (u32, u32)) -> anyhow::Result<Workspaces> {
    let root = config.workspaces.root.clone();
    let host_root = Some(config.workspaces.host_root.clone()).filter(|host| *host != root);
    let max_file_bytes = config.workspaces.max_file.bytes();
    Ok(Workspaces::with_config(WorkspacesConfig { root, host_root, owner, max_file_bytes })?)
}

/// How long the machine has been up, and its boot id. Where the kernel has no boot id, the nil UUID stands for it, as if
/// the machine had never been restarted.
pub(crate) fn uptime() -> Uptime {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let passed = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Uptime {
        boot: boot.trim().parse().unwrap_or_default(),
        passed: Duration::try_from(passed).unwrap_or_default(),
    }
}
