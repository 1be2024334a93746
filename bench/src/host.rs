//! What the benchmarks need of the program that they are part of: its settings, its engines, and platforms.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use mgx_protocol::JobId;
use mgx_runtimes::{ContainerEngine, ContainerSpec, Pool, PoolableRuntime, Runtime};
use mgx_scheduler::Clock;
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Names of the runtimes, as the configuration has them.
pub const RUNTIMES: [&str; 6] = ["docker", "pool:docker", "podman", "pool:podman", "process", "null"];

/// The runtime that runs nothing.
pub(crate) const NULL: &str = "null";

/// The runtime that runs plain processes.
pub(crate) const PROCESS: &str = "process";

/// Puts a runtime around the one that the scheduler would use, whose warm pool is given too if it has one.
pub type RuntimeDecorator =
    Box<dyn Fn(Arc<dyn Runtime>, Option<&Arc<Pool>>) -> Arc<dyn Runtime> + Send + Sync>;

/// The program that the benchmarks are part of.
#[async_trait]
pub trait Host: Send + Sync + fmt::Debug {
    /// The operator's settings.
    fn settings(&self) -> Settings;

    /// The scheduler's part of the operator's settings.
    fn scheduler_config(&self) -> mgx_scheduler::Config;

    /// A clock for a scheduler that starts now.
    fn clock(&self) -> Clock;

    /// Makes a data directory, and returns the admin token of the platform that uses it.
    ///
    /// # Errors
    /// The directory or the token cannot be written.
    fn make_data_dir(&self, data_dir: &Path) -> anyhow::Result<SecretString>;

    /// The containers that belong to `instance` in the engine of the runtime, without a platform.
    ///
    /// # Errors
    /// The runtime has no engine.
    fn containers(&self, overrides: &Overrides, instance: &str) -> anyhow::Result<Arc<dyn ContainerEngine>>;

    /// The engine of the runtime, without a platform, for waiting containers that belong to `instance`; `None` if the
    /// runtime has no containers.
    ///
    /// # Errors
    /// The engine cannot be set up.
    fn parking(
        &self,
        overrides: &Overrides,
        instance: &str,
    ) -> anyhow::Result<Option<Arc<dyn PoolableRuntime>>>;

    /// Starts a platform in this process, on a free port of the loopback address, and waits until it schedules.
    ///
    /// # Errors
    /// The platform cannot be started.
    async fn start(
        &self,
        overrides: &Overrides,
        decorator: Option<RuntimeDecorator>,
    ) -> anyhow::Result<Platform>;
}

/// What the benchmarks read of the operator's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the runtime, one of [`RUNTIMES`].
    pub runtime: &'static str,
    /// The container of an agent.
    pub container: ContainerSpec,
    /// The runner on this machine; empty if there is none.
    pub runner: PathBuf,
    /// The MongoDB server, if the platform uses one.
    pub store_url: Option<SecretString>,
}

/// How a platform under measurement differs from the operator's settings. It always uses the demo model, without pauses.
#[derive(Clone, Debug)]
pub struct Overrides {
    /// The data directory. The store and the workspaces are in it.
    pub data_dir: PathBuf,
    /// The database, if the store is a MongoDB server.
    pub database: String,
    /// The runtime, one of [`RUNTIMES`].
    pub runtime: Option<&'static str>,
    /// The number of containers that a warm pool keeps.
    pub pool: Option<u64>,
    /// The number of jobs that run at a time.
    pub max_running: Option<u64>,
    /// The number of jobs that may wait.
    pub max_queued: Option<u64>,
    /// Whether a user may submit jobs as fast as the platform takes them.
    pub is_rate_unlimited: bool,
}

impl Overrides {
    /// Only what keeps the platform apart from the operator's.
    pub(crate) fn in_dir(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            database: new_database(),
            runtime: None,
            pool: None,
            max_running: None,
            max_queued: None,
            is_rate_unlimited: false,
        }
    }
}

/// A name for a database that no other run uses.
pub(crate) fn new_database() -> String {
    format!("mgx_bench_{}", JobId::new())
}

/// A platform that serves in this process.
#[derive(Debug)]
pub struct Platform {
    /// Where its API listens.
    pub address: SocketAddr,
    /// The token of its API.
    pub token: SecretString,
    /// The instance that its containers belong to.
    pub instance: String,
    /// Its warm pool, if it has one.
    pub pool: Option<Arc<Pool>>,
    /// Stops it.
    pub shutdown: CancellationToken,
    /// Ends when it has stopped.
    pub serving: JoinHandle<anyhow::Result<()>>,
}

impl Platform {
    /// Serves while `measure` runs.
    pub(crate) async fn serve<T>(
        host: &dyn Host,
        overrides: &Overrides,
        decorator: Option<RuntimeDecorator>,
        measure: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let platform = host.start(overrides, decorator).await?;
        let measured = measure(&platform).await;
        let stopped = platform.stop().await;
        let measured = measured?;
        stopped?;
        Ok(measured)
    }

    /// Stops the platform, and removes the containers of its warm pool.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let ended = self.serving.await;
        if let Some(pool) = self.pool {
            pool.dissolve().await;
        }
        ended?
    }
}
