//! Docker, and whatever else speaks its API: the engine makes and destroys boxes, all else goes over the link.

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

use crate::contained::{Contained, Containers, End, EndStream, MAX_LAST_WORDS, name};
use crate::engine::{Engine, deadline, status, within};
use crate::hardening::{Dialect, Hardening, INSTANCE_LABEL, SLOT_LABEL, join, processes};
use crate::image::Images;
use crate::link::Links;
use crate::namespaces::{Lease, Namespaces};
use crate::profile::write_profile;
use crate::{
    ContainerSpec, Ended, EngineInfo, Listed, OciRuntime, Placement, RuntimeError, RuntimeErrorKind,
};

/// Where the engine is, and whose containers they are.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The engine's socket: `unix:///var/run/docker.sock`, or the path alone.
    pub host: String,
    /// The name of this instance of the platform; containers of other instances are never touched.
    pub instance: String,
    /// `uid:gid` of every process in a container; not root.
    pub user: String,
    /// Where the system-call profile is written if the engine is Podman, which takes a path only.
    pub profile: PathBuf,
    /// How many containers of the platform's own may hold network namespaces in store, so that starts take less; 0:
    /// none.
    pub holders: usize,
}

/// Containers of an engine that speaks the Docker API.
pub type Docker = Contained<DockerApi>;

/// Docker's part of it.
#[derive(Debug)]
pub struct DockerApi {
    engine: Arc<Engine>,
    config: DockerConfig,
    /// Done when the profile is where Podman finds it.
    profile: OnceCell<()>,
    /// Network namespaces in store; none without a place where their holders can call.
    namespaces: Option<Namespaces>,
    /// The namespaces of those that are made and not started.
    joined: Mutex<HashMap<SlotId, Lease>>,
}

impl Docker {
    /// A runtime on the engine of `config`, whose runners call at `links`. Reaches for it with the first call, so the
    /// engine may come later than the platform.
    pub fn connect(config: DockerConfig, links: Links) -> Self {
        let (instance, most, directory) = (config.instance.clone(), config.holders, links.beside("-net"));
        let mut docker = DockerApi::new(config);
        docker.namespaces = Some(Namespaces::new(Arc::clone(&docker.engine), instance, directory, most));
        Self::new(docker, links)
    }

    /// Where the agent image is made.
    pub fn images(&self) -> Arc<dyn Images> {
        Arc::clone(&self.containers().engine) as _
    }
}

#[async_trait]
impl Containers for DockerApi {
    async fn create(
        &self,
        spec: &ContainerSpec,
        placement: &Placement,
        link: &Path,
    ) -> Result<(), RuntimeError> {
        let connected = self.engine.connected().await?;
        let dialect = if connected.is_podman {
            if let Some(name) = spec.oci_runtime.name() {
                // it would take its own, and not say so
                let message = format!(
                    "Podman cannot be asked for {name:?} in Docker's language; set runtime = \"podman\""
                );
                return Err(RuntimeError::new(RuntimeErrorKind::OciRuntimeMissing, message));
            }
            self.profile.get_or_try_init(|| write_profile(&self.config.profile)).await?;
            Dialect::Podman { profile: self.config.profile.clone(), processes: processes() }
        } else {
            Dialect::Docker
        };
        let hardening = Hardening {
            instance: self.config.instance.clone(),
            user: self.config.user.clone(),
            swappiness: connected.cgroup_v1,
            dialect,
        };
        let create = async |body| {
            let options = CreateContainerOptionsBuilder::new().name(&name(&placement.slot)).build();
            let creating = connected.client.create_container(Some(options), body);
            let created = within(deadline::CREATE, "cannot create the container", creating).await;
            created.map(drop).map_err(|error| unknown_runtime(spec, error))
        };
        let mut body = hardening.container(spec, placement, link);
        if let Some(lease) = self.lend(spec, connected.is_podman).await {
            let alone = body.clone();
            join(&mut body, lease.container());
            match create(body).await {
                // the holder has gone
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

    /// What Docker is asked for it does, or it refuses.
    async fn inspect(&self, _: &ContainerSpec, _: &Placement) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn start(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        let name = name(slot);
        let lease = self.joined().remove(slot);
        let starting = client.start_container(&name, None);
        let started = within(deadline::CREATE, "cannot start the container", starting).await;
        match &started {
            // it may start yet: its namespace stays its own
            Err(error)
                if matches!(error.kind(), RuntimeErrorKind::Deadline | RuntimeErrorKind::Unavailable) =>
            {
                drop(lease);
            }
            Ok(()) | Err(_) => lease.into_iter().for_each(Lease::give_back),
        }
        started
    }

    async fn ended(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError> {
        use ContainerStateStatusEnum::CREATED;
        let client = self.client().await?;
        let name = name(slot);
        let looking = client.inspect_container(&name, None);
        let state = within(deadline::LOOK, "cannot look at the container", looking).await?.state;
        Ok(match state {
            Some(
                ContainerState { running: Some(true), .. } | ContainerState { status: Some(CREATED), .. },
            ) => None,
            Some(ContainerState { exit_code: Some(code), .. }) => Some(Ended::Died { code }),
            Some(ContainerState { .. }) | None => Some(Ended::Lost),
        })
    }

    async fn last_words(&self, slot: &SlotId) -> String {
        let mut words = String::new();
        let reading = async {
            let connected = self.engine.connected().await?;
            // Podman's tail loses the first half of a line that was written in two
            let tail = if connected.is_podman { "all" } else { "10" };
            let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(tail).build();
            let mut lines = connected.client.logs(&name(slot), Some(options)).boxed();
            while let (Some(Ok(line)), true) = (lines.next().await, words.len() < MAX_LAST_WORDS) {
                words.push_str(&line.to_string());
            }
            Ok::<_, RuntimeError>(())
        };
        tokio::time::timeout(deadline::LOOK, reading).await.ok();
        words
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        drop(self.joined().remove(slot));
        let client = self.client().await?;
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let name = name(slot);
        let removing = async {
            match client.remove_container(&name, Some(options)).await {
                Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
                answer => answer,
            }
        };
        within(deadline::KILL, "cannot remove the container", removing).await
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let client = self.client().await?;
        let filters = HashMap::from([("label", vec![self.label()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listing = client.list_containers(Some(options));
        let containers = within(deadline::LOOK, "cannot list the containers", listing).await?;
        Ok(containers.iter().filter_map(listed).collect())
    }

    async fn ping(&self) -> Result<(), RuntimeError> {
        let client = self.client().await?;
        within(deadline::PING, "cannot reach the container engine", client.ping()).await.map(drop)
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let connected = self.engine.connected().await?;
        self.ping().await?;
        Ok(EngineInfo {
            name: if connected.is_podman { "podman" } else { "docker" }.to_owned(),
            version: connected.version.clone(),
        })
    }

    async fn ends(&self, since: Option<i64>) -> Result<EndStream, RuntimeError> {
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
        let ends = events.map(|event| {
            event.map(|event| end(&event)).map_err(|error| {
                RuntimeError::new(RuntimeErrorKind::Unavailable, "cannot hear the engine").because(error)
            })
        });
        Ok(ends.boxed())
    }
}

impl DockerApi {
    /// The containers of the instance of `config`.
    pub fn new(config: DockerConfig) -> Self {
        Self {
            engine: Arc::new(Engine::new(&config.host)),
            config,
            profile: OnceCell::new(),
            namespaces: None,
            joined: Mutex::default(),
        }
    }

    /// A network namespace for a container of `spec`. gVisor makes its own, and Podman needs no time for it.
    async fn lend(&self, spec: &ContainerSpec, is_podman: bool) -> Option<Lease> {
        match spec.oci_runtime {
            OciRuntime::Engines | OciRuntime::Runc | OciRuntime::Crun if !is_podman => {
                self.namespaces.as_ref()?.lend(&spec.image).await
            }
            OciRuntime::Engines | OciRuntime::Runc | OciRuntime::Crun | OciRuntime::Runsc => None,
        }
    }

    fn joined(&self) -> MutexGuard<'_, HashMap<SlotId, Lease>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn client(&self) -> Result<&bollard::Docker, RuntimeError> {
        self.engine.connected().await.map(|connected| &connected.client)
    }

    fn label(&self) -> String {
        format!("{INSTANCE_LABEL}={}", self.config.instance)
    }
}

/// What an engine means that does not know the OCI runtime of `spec`, and what to do about it.
fn unknown_runtime(spec: &ContainerSpec, error: RuntimeError) -> RuntimeError {
    // 20.10 says "Unknown runtime specified runsc", 25 "unknown or invalid runtime name: runsc"
    let said = error.to_string().to_ascii_lowercase();
    match spec.oci_runtime.name() {
        Some(name) if said.contains("unknown") && said.contains("runtime") => {
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

/// What an event says of the container of a slot.
fn end(event: &EventMessage) -> End {
    let of = event.actor.as_ref().and_then(|actor| {
        let attributes = actor.attributes.as_ref()?;
        let slot = attributes.get(SLOT_LABEL)?.parse().ok()?;
        match event.action.as_deref()? {
            // without a code, the next look finds it
            "die" => Some((slot, Ended::Died { code: attributes.get("exitCode")?.parse().ok()? })),
            "destroy" => Some((slot, Ended::Lost)),
            _ => None,
        }
    });
    End { of, at: event.time_nano }
}
