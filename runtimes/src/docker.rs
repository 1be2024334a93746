//! Docker, and other engines that speak its API.

pub mod connection;
mod images;
mod namespace_holders;
mod user_mapping;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bollard::models::EventMessage;
use bollard::models::{
    ContainerState, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use futures_util::StreamExt;
use mgx_protocol::SlotId;
use tokio::sync::OnceCell;

use crate::engine::image::Images;
use crate::engine::runtime::EngineRuntime;
use crate::engine::{
    ContainerEngine, ContainerExit, ExitStream, MAX_LOG_TAIL_BYTES, container_name, deadline,
};
use crate::hardening::profile::write_profile;
use crate::hardening::{Dialect, Hardening, INSTANCE_LABEL, SLOT_LABEL, join, max_processes};
use crate::link::Links;
use crate::{
    ContainerSpec, Ended, EngineInfo, Listed, OciRuntime, Placement, RuntimeError, RuntimeErrorKind,
};
use connection::{Connected, DockerConnection, status, within};
use namespace_holders::{HolderLease, NamespaceHolders};
pub use user_mapping::{UserMapping, UserObstacle};

/// Where the engine is, and how its containers are marked and run.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The engine's socket: `unix:///var/run/docker.sock`, or the path alone.
    pub host: String,
    /// The name of this instance of the platform; containers of other instances are never touched.
    pub instance: String,
    /// User and group of every process in a container, as it sees them; not root.
    pub user: (u32, u32),
    /// User and group of the workspaces, as the host sees them. An engine that maps the former to others is refused.
    pub workspace_owner: (u32, u32),
    /// Where the system-call profile is written if the engine is Podman, which takes a path only.
    pub profile: PathBuf,
    /// How many containers of the platform's own may keep network namespaces ready, which shortens starts; 0 for none.
    pub holders: usize,
}

/// The runtime of an engine that speaks the Docker API.
pub type Docker = EngineRuntime<DockerEngine>;

/// An engine that speaks the Docker API.
#[derive(Debug)]
pub struct DockerEngine {
    connection: Arc<DockerConnection>,
    config: DockerConfig,
    /// Set when the system-call profile has been written for Podman.
    profile: OnceCell<()>,
    /// Network namespaces that are ready; `None` without a directory for the holders' sockets.
    namespaces: Option<NamespaceHolders>,
    /// The holders whose namespaces are joined by containers that are created and not started.
    joined: Mutex<HashMap<SlotId, HolderLease>>,
}

impl Docker {
    /// A runtime on the engine of `config`, whose runners connect to `links`. It connects with the first call, so the
    /// engine may start later than the platform.
    pub fn connect(config: DockerConfig, links: Links) -> Self {
        let (instance, most, directory) =
            (config.instance.clone(), config.holders, links.sibling_directory("-net"));
        let mut docker = DockerEngine::new(config);
        let holders = NamespaceHolders::new(Arc::clone(&docker.connection), instance, directory, most);
        docker.namespaces = Some(holders);
        Self::new(docker, links)
    }

    /// The images of the engine.
    pub fn images(&self) -> Arc<dyn Images> {
        Arc::clone(&self.engine().connection) as _
    }
}

#[async_trait]
impl ContainerEngine for DockerEngine {
    async fn create(
        &self,
        spec: &ContainerSpec,
        placement: &Placement,
        link: &Path,
    ) -> Result<(), RuntimeError> {
        let connected = self.connection.connected().await?;
        self.check_users(connected, placement)?;
        let dialect = if connected.is_podman {
            if let Some(name) = spec.oci_runtime.name() {
                // it would use its own runtime without an error
                let message =
                    format!("Podman's Docker API ignores the OCI runtime {name:?}; set runtime = \"podman\"");
                return Err(RuntimeError::new(RuntimeErrorKind::OciRuntimeMissing, message));
            }
            self.profile.get_or_try_init(|| write_profile(&self.config.profile)).await?;
            Dialect::Podman { profile: self.config.profile.clone(), processes: max_processes() }
        } else {
            Dialect::Docker
        };
        let hardening = Hardening {
            instance: self.config.instance.clone(),
            user: format!("{}:{}", self.config.user.0, self.config.user.1),
            swappiness: connected.cgroup_v1,
            dialect,
        };
        let create = async |body| {
            let options = CreateContainerOptionsBuilder::new().name(&container_name(&placement.slot)).build();
            let creating = connected.client.create_container(Some(options), body);
            let created = within(deadline::CREATE, "cannot create the container", creating).await;
            created.map(drop).map_err(|error| unknown_runtime(spec, error))
        };
        let mut body = hardening.container(spec, placement, link);
        if let Some(lease) = self.lend_namespace(spec, connected.is_podman).await {
            let alone = body.clone();
            join(&mut body, lease.container());
            match create(body).await {
                // the holder has ended
                Err(error) if error.kind() == RuntimeErrorKind::NotFound => body = alone,
                Ok(()) => {
                    self.joined().insert(placement.slot.clone(), lease);
                    return Ok(());
                }
                Err(error) => {
                    lease.give_back();
                    return Err(error);
                }
            }
        }
        create(body).await
    }

    /// Docker does what it is asked for or refuses it, so there is nothing to check.
    async fn inspect(&self, _: &ContainerSpec, _: &Placement) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn start(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        let name = container_name(slot);
        let lease = self.joined().remove(slot);
        let starting = client.start_container(&name, None);
        let started = within(deadline::CREATE, "cannot start the container", starting).await;
        match &started {
            // the container may still start: its namespace is not lent again
            Err(error)
                if matches!(error.kind(), RuntimeErrorKind::Deadline | RuntimeErrorKind::Unavailable) =>
            {
                drop(lease);
            }
            Ok(()) | Err(_) => lease.into_iter().for_each(HolderLease::give_back),
        }
        started
    }

    async fn exit_of(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError> {
        use ContainerStateStatusEnum::CREATED;
        let client = self.client().await?;
        let name = container_name(slot);
        let inspecting = client.inspect_container(&name, None);
        let state = within(deadline::INSPECT, "cannot inspect the container", inspecting).await?.state;
        Ok(match state {
            Some(
                ContainerState { running: Some(true), .. } | ContainerState { status: Some(CREATED), .. },
            ) => None,
            Some(ContainerState { exit_code: Some(code), .. }) => Some(Ended::Died { code }),
            Some(ContainerState { .. }) | None => Some(Ended::Lost),
        })
    }

    async fn log_tail(&self, slot: &SlotId) -> String {
        let mut log = String::new();
        let reading = async {
            let connected = self.connection.connected().await?;
            // Podman's tail loses the first half of a line that was written in two
            let tail = if connected.is_podman { "all" } else { "10" };
            let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(tail).build();
            let mut lines = connected.client.logs(&container_name(slot), Some(options)).boxed();
            while let (Some(Ok(line)), true) = (lines.next().await, log.len() < MAX_LOG_TAIL_BYTES) {
                log.push_str(&line.to_string());
            }
            Ok::<_, RuntimeError>(())
        };
        tokio::time::timeout(deadline::INSPECT, reading).await.ok();
        log
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        drop(self.joined().remove(slot));
        let client = self.client().await?;
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let name = container_name(slot);
        let removing = async {
            match client.remove_container(&name, Some(options)).await {
                Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
                answer => answer,
            }
        };
        within(deadline::REMOVE, "cannot remove the container", removing).await
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let client = self.client().await?;
        let filters = HashMap::from([("label", vec![self.label()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listing = client.list_containers(Some(options));
        let containers = within(deadline::INSPECT, "cannot list the containers", listing).await?;
        Ok(containers.iter().filter_map(listed).collect())
    }

    async fn ping(&self) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        within(deadline::PING, "cannot reach the container engine", client.ping()).await.map(drop)
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let connected = self.connection.connected().await?;
        self.ping().await?;
        Ok(EngineInfo {
            name: if connected.is_podman { "podman" } else { "docker" }.to_owned(),
            version: connected.version.clone(),
        })
    }

    async fn exits(&self, since: Option<i64>) -> Result<ExitStream, RuntimeError> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("event", vec!["die".to_owned(), "destroy".to_owned()]),
            ("label", vec![self.label()]),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters);
        let options = match since {
            Some(nanos) => options.since(&format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)),
            None => options,
        };
        let client = self.client().await?.clone();
        let events = client.events(Some(options.build()));
        let exits = events.map(|event| {
            event.map(|event| container_exit(&event)).map_err(|error| {
                RuntimeError::new(RuntimeErrorKind::Unavailable, "cannot read the engine's events")
                    .because(error)
            })
        });
        Ok(exits.boxed())
    }
}

impl DockerEngine {
    /// The engine of `config`, without namespace holders.
    pub fn new(config: DockerConfig) -> Self {
        Self {
            connection: Arc::new(DockerConnection::new(&config.host)),
            config,
            profile: OnceCell::new(),
            namespaces: None,
            joined: Mutex::default(),
        }
    }

    /// Refuses a container that could not write to its workspace, because the engine maps its user to another one.
    fn check_users(&self, connected: &Connected, placement: &Placement) -> Result<(), RuntimeError> {
        let obstacle = {
            let is_root = rustix::process::geteuid().is_root();
            connected.users.obstacle(self.config.user, self.config.workspace_owner, is_root)
        };
        match (&placement.workspace, obstacle) {
            (Some(_), Some(UserObstacle { what, remedy })) => {
                Err(RuntimeError::new(RuntimeErrorKind::Refused, format!("{what}; {remedy}")))
            }
            (Some(_), None) | (None, _) => Ok(()),
        }
    }

    /// A network namespace for a container of `spec`. gVisor cannot join one, and Podman makes one in no time.
    async fn lend_namespace(&self, spec: &ContainerSpec, is_podman: bool) -> Option<HolderLease> {
        match spec.oci_runtime {
            OciRuntime::Engines | OciRuntime::Runc | OciRuntime::Crun if !is_podman => {
                self.namespaces.as_ref()?.lend(&spec.image).await
            }
            OciRuntime::Engines | OciRuntime::Runc | OciRuntime::Crun | OciRuntime::Runsc => None,
        }
    }

    fn joined(&self) -> MutexGuard<'_, HashMap<SlotId, HolderLease>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn client(&self) -> Result<&bollard::Docker, RuntimeError> {
        self.connection.connected().await.map(|connected| &connected.client)
    }

    fn label(&self) -> String {
        format!("{INSTANCE_LABEL}={}", self.config.instance)
    }
}

/// `error`, or, if it means that the engine does not know the OCI runtime of `spec`, an error with the remedy.
fn unknown_runtime(spec: &ContainerSpec, error: RuntimeError) -> RuntimeError {
    // 20.10 says "Unknown runtime specified runsc", 25 "unknown or invalid runtime name: runsc"
    let text = error.to_string().to_ascii_lowercase();
    match spec.oci_runtime.name() {
        Some(name) if text.contains("unknown") && text.contains("runtime") => {
            let message = format!(
                "the engine does not know the OCI runtime {name:?}: install it, put it under \"runtimes\" in \
                 /etc/docker/daemon.json and reload the engine (`mgx doctor` says how), or change [isolation]"
            );
            RuntimeError::new(RuntimeErrorKind::OciRuntimeMissing, message).because(error)
        }
        Some(_) | None => error,
    }
}

fn listed(container: &ContainerSummary) -> Option<Listed> {
    let slot = container.labels.as_ref()?.get(SLOT_LABEL)?.parse().ok()?;
    let running = matches!(
        container.state,
        Some(
            ContainerSummaryStateEnum::RUNNING
                | ContainerSummaryStateEnum::PAUSED
                | ContainerSummaryStateEnum::RESTARTING
        )
    );
    Some(Listed { slot, running })
}

/// The exit that an event of the engine reports.
fn container_exit(event: &EventMessage) -> ContainerExit {
    let of = event.actor.as_ref().and_then(|actor| {
        let attributes = actor.attributes.as_ref()?;
        let slot = attributes.get(SLOT_LABEL)?.parse().ok()?;
        match event.action.as_deref()? {
            // an event without a code: the comparison with the list finds the exit
            "die" => Some((slot, Ended::Died { code: attributes.get("exitCode")?.parse().ok()? })),
            "destroy" => Some((slot, Ended::Lost)),
            _ => None,
        }
    });
    ContainerExit { of, at: event.time_nano }
}
