//! The runtime that the configuration names, with its agent image and its warm pool.

pub(crate) mod users;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use mgx_runtimes::image::Images;
use mgx_runtimes::pool::{Bounds, PoolConfig};
use mgx_runtimes::{
    ContainerEngine, ContainerSpec, Docker, DockerConfig, DockerEngine, Links, Network, Null, Podman,
    PodmanConfig, PodmanEngine, Pool, PoolableRuntime, Process, ProcessConfig, Runtime, Tunnel,
};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::config::{Config, RuntimeName};
use crate::image::{self, AgentImage, WithImage};
use crate::settings;
use users::container_user;

/// Where Docker listens by default.
pub(crate) const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";

/// Where Podman's service of the user root listens by default.
const PODMAN_SOCKET: &str = "unix:///run/podman/podman.sock";

/// The address of the Docker engine.
pub(crate) fn docker_host(config: &Config) -> String {
    if config.docker.host.is_empty() { DOCKER_SOCKET.to_owned() } else { config.docker.host.clone() }
}

/// The address of Podman's service: by default the one of this user.
pub(crate) fn podman_host(config: &Config) -> String {
    if !config.podman.host.is_empty() {
        return config.podman.host.clone();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !rustix::process::geteuid().is_root() => {
            format!("unix://{}/podman/podman.sock", PathBuf::from(dir).display())
        }
        Some(_) | None => PODMAN_SOCKET.to_owned(),
    }
}

/// The runtime with the address of its engine: what has a container there is found by no other one.
pub(crate) fn address(config: &Config) -> String {
    let name = config.runtime.name();
    match config.runtime {
        RuntimeName::Docker | RuntimeName::PoolDocker => format!("{name} at {}", docker_host(config)),
        RuntimeName::Podman | RuntimeName::PoolPodman => format!("{name} at {}", podman_host(config)),
        RuntimeName::Process | RuntimeName::Null => name.to_owned(),
    }
}

/// A runtime that is ready for the scheduler.
pub(crate) struct Engine {
    /// What the scheduler uses: the warm pool, if there is one.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// The name of the image of the jobs' containers.
    pub(crate) image_name: String,
    /// Makes the agent image, if the runtime has images.
    pub(crate) image: Option<Arc<WithImage>>,
    /// The warm pool, if there is one.
    pub(crate) pool: Option<Arc<Pool>>,
}

/// The runtime of `config`, for the containers of `instance`. Connections from containers come out of `tunnels`.
/// `workspace_owner` is who owns the workspaces.
///
/// # Errors
/// The error says what the operator has to change.
pub(crate) fn engine(
    config: &Config,
    instance: &str,
    tunnels: mpsc::Sender<Tunnel>,
    workspace_owner: (u32, u32),
) -> anyhow::Result<Engine> {
    match config.runtime {
        RuntimeName::Docker | RuntimeName::PoolDocker | RuntimeName::Podman | RuntimeName::PoolPodman => {
            pooled(config, Arc::new(parking(config, instance, tunnels, workspace_owner)?))
        }
        RuntimeName::Process => {
            warn!(
                "runtime = \"process\": commands run WITHOUT isolation; this is for development and chaos tests only"
            );
            let runner =
                image::runner(config).context("there is no agent-runner; name it in agent.runner")?;
            let slots = config.server.data_dir.join("slots");
            let process = Process::new(ProcessConfig { runner, slots }, links(config, instance, tunnels)?)?;
            Ok(without_images(config, Arc::new(process)))
        }
        RuntimeName::Null => {
            warn!(
                "runtime = \"null\": no job is run, and every job succeeds; this is for measuring the queue"
            );
            Ok(without_images(config, Arc::new(Null::default())))
        }
    }
}

/// A runtime that has no images.
fn without_images(config: &Config, runtime: Arc<dyn Runtime>) -> Engine {
    Engine { runtime, image_name: config.agent.image.clone(), image: None, pool: None }
}

/// The container engine of `config` with its agent image, without a warm pool.
///
/// # Errors
/// The runtime has no container engine, or the directory of the runner links cannot be made.
pub(crate) fn parking(
    config: &Config,
    instance: &str,
    tunnels: mpsc::Sender<Tunnel>,
    workspace_owner: (u32, u32),
) -> anyhow::Result<WithImage> {
    let (engine, images): (Arc<dyn PoolableRuntime>, Arc<dyn Images>) = match config.runtime {
        RuntimeName::Docker | RuntimeName::PoolDocker => {
            let docker =
                Docker::connect(docker(config, instance, workspace_owner), links(config, instance, tunnels)?);
            let images = docker.images();
            (Arc::new(docker), images)
        }
        RuntimeName::Podman | RuntimeName::PoolPodman => {
            let podman = Podman::connect(podman(config, instance), links(config, instance, tunnels)?);
            let images = podman.images();
            (Arc::new(podman), images)
        }
        RuntimeName::Process | RuntimeName::Null => {
            anyhow::bail!("the runtime \"{}\" has no engine", config.runtime.name())
        }
    };
    Ok(WithImage::new(engine, images, AgentImage::of(config)))
}

/// The containers of `instance` in the engine of `config`, without runner links and without a platform.
///
/// # Errors
/// The runtime has no container engine.
pub(crate) fn containers(config: &Config, instance: &str) -> anyhow::Result<Arc<dyn ContainerEngine>> {
    match config.runtime {
        RuntimeName::Docker | RuntimeName::PoolDocker => {
            Ok(Arc::new(DockerEngine::new(docker(config, instance, container_user()))))
        }
        RuntimeName::Podman | RuntimeName::PoolPodman => {
            Ok(Arc::new(PodmanEngine::new(podman(config, instance))))
        }
        RuntimeName::Process | RuntimeName::Null => {
            anyhow::bail!("the runtime \"{}\" has no engine", config.runtime.name())
        }
    }
}

/// The images of the engine of `config`; those of Docker if the runtime has no container engine.
pub(crate) fn images(config: &Config) -> Arc<dyn Images> {
    match config.runtime {
        RuntimeName::Podman | RuntimeName::PoolPodman => Arc::new(PodmanEngine::new(podman(config, ""))),
        RuntimeName::Docker | RuntimeName::PoolDocker | RuntimeName::Process | RuntimeName::Null => {
            Arc::new(mgx_runtimes::DockerConnection::new(docker_host(config)))
        }
    }
}

fn docker(config: &Config, instance: &str, workspace_owner: (u32, u32)) -> DockerConfig {
    DockerConfig {
        host: docker_host(config),
        instance: instance.to_owned(),
        user: container_user(),
        workspace_owner,
        profile: seccomp_profile(config),
        holders: config.docker.holders.count(),
    }
}

fn podman(config: &Config, instance: &str) -> PodmanConfig {
    PodmanConfig {
        host: podman_host(config),
        oci_runtime: config.podman.oci_runtime.clone(),
        instance: instance.to_owned(),
        user: format!("{}:{}", container_user().0, container_user().1),
        profile: seccomp_profile(config),
    }
}

/// The file of the seccomp profile, for an engine that takes a path.
fn seccomp_profile(config: &Config) -> PathBuf {
    config.server.data_dir.join("seccomp.json")
}

/// Puts the warm pool around a container engine, if the runtime's name asks for one.
fn pooled(config: &Config, image: Arc<WithImage>) -> anyhow::Result<Engine> {
    let image_name = image.image().name.clone();
    if !config.runtime.is_pool() {
        return Ok(Engine { runtime: image.clone(), image_name, image: Some(image), pool: None });
    }
    let pool = pool(config, &image_name);
    let pool = Arc::new(Pool::open(image.clone(), pool).context("cannot make the warm pool")?);
    pool.start();
    Ok(Engine { runtime: pool.clone(), image_name, image: Some(image), pool: Some(pool) })
}

/// The settings of the warm pool, whose containers are made of `image`.
fn pool(config: &Config, image: &str) -> PoolConfig {
    let pool = &config.pool;
    PoolConfig {
        directory: config.server.data_dir.join("pool"),
        spec: ContainerSpec {
            image: image.to_owned(),
            limits: settings::default_limits(config),
            network: Network::None,
            oci_runtime: config.isolation.agent,
        },
        // an image of the platform's own is named by its content
        generation: format!("{}-{image}", env!("CARGO_PKG_VERSION")),
        bounds: Bounds { min: pool.min.count(), max: pool.max.count(), idle: pool.idle.duration() },
        memory_bytes: pool.memory.bytes(),
        refill: pool.refill.count(),
    }
}

/// The runner links: in the data directory, or in the system's directory for sockets if that path is too long for one.
fn links(config: &Config, instance: &str, tunnels: mpsc::Sender<Tunnel>) -> anyhow::Result<Links> {
    let in_data = config.server.data_dir.join("links");
    let name = format!("mgx-{instance}");
    let run = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !rustix::process::geteuid().is_root() => PathBuf::from(dir).join(&name),
        Some(_) | None => PathBuf::from("/run").join(&name),
    };
    match Links::new(&in_data, tunnels.clone()) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            info!(directory = %run.display(), "the data directory's path is too long for sockets");
            Links::new(&run, tunnels).with_context(|| format!("cannot make {}: {error}", run.display()))
        }
        links => links.with_context(|| format!("cannot make {}", in_data.display())),
    }
}
