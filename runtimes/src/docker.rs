//! Docker, and whatever else speaks its API: the engine makes and destroys boxes, all else goes over the link.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use futures_util::StreamExt;
use mgx_agent_runner::SlotId;
use mgx_agent_runner::protocol::Invocation;
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::deaths::{Deaths, ended};
use crate::engine::{Connected, Engine, deadline, status, within};
use crate::hardening::{Hardening, INSTANCE_LABEL, SLOT_LABEL};
use crate::link::Links;
use crate::{
    ContainerSpec, Ended, EngineInfo, Listed, Parked, Parking, Placement, Run, Runtime, RuntimeError,
    RuntimeErrorKind,
};

/// How long a started container may take until its runner has called.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How much of a failed container's log an error tells, in bytes.
const MAX_LAST_WORDS: usize = 2048;

/// Where the engine is, and whose containers they are.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The engine's socket: `unix:///var/run/docker.sock`, or the path alone.
    pub host: String,
    /// The name of this instance of the platform; containers of other instances are never touched.
    pub instance: String,
    /// `uid:gid` of every process in a container; not root.
    pub user: String,
}

/// Containers of an engine that speaks the Docker API.
#[derive(Debug)]
pub struct Docker {
    engine: Arc<Engine>,
    config: DockerConfig,
    links: Links,
    deaths: Deaths,
}

impl Docker {
    /// A runtime on the engine of `config`, whose runners call at `links`. Reaches for it with the first call, so the
    /// engine may come later than the platform.
    pub fn connect(config: DockerConfig, links: Links) -> Self {
        let engine = Arc::new(Engine::new(&config.host));
        let deaths = Deaths::new(Arc::clone(&engine), config.instance.clone());
        Self { engine, config, links, deaths }
    }

    /// The engine, for building images.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    async fn boot(
        &self,
        connected: &Connected,
        spec: &ContainerSpec,
        placement: &Placement,
    ) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        let name = name(slot);
        let client = &connected.client;
        let hardening = Hardening {
            instance: self.config.instance.clone(),
            user: self.config.user.clone(),
            swappiness: connected.cgroup_v1,
        };
        let link = self.links.open(slot)?;
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let body = hardening.container(spec, placement, &link);
        let creating = client.create_container(Some(options), body);
        let created = within(deadline::CREATE, "cannot create the container", creating).await;
        if created.as_ref().is_err_and(|error| error.kind() == RuntimeErrorKind::Conflict) {
            // Somebody else's container has this name, and maybe this directory: leave both alone.
            self.links.release(slot);
            return created.map(drop);
        }
        let booted = async {
            created?;
            self.deaths.expect(slot);
            let starting = client.start_container(&name, None);
            within(deadline::CREATE, "cannot start the container", starting).await?;
            tokio::select! {
                ready = self.links.ready(slot, READY_LIMIT) => ready.map(drop),
                ended = self.deaths.of(slot) => Err(stillborn(client, &name, &ended).await),
            }
        };
        let booted = booted.await;
        if let Err(error) = &booted {
            debug!(%slot, %error, "the container did not become ready");
            self.remove(slot).await.unwrap_or_else(|error| warn!(%slot, %error, "a container is left over"));
            self.links.close(slot);
        }
        booted
    }
}

#[async_trait]
impl Runtime for Docker {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let connected = self.engine.connected().await?;
        self.boot(connected, spec, placement).await
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        self.links.start(slot, invocation, self.deaths.of(slot))
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        let client = &self.engine.connected().await?.client;
        let name = name(slot);
        // expected before it is looked at, so that there is no moment in which it could end unseen
        self.deaths.expect(slot);
        match ended(client, &name).await {
            Ok(None) => {}
            Ok(Some(ended)) => return Ok(Run::over(ended)),
            Err(error) => {
                self.deaths.forget(slot);
                return Err(error);
            }
        }
        // Whoever listened before is cut off, and the runner calls anew.
        self.links.release(slot);
        self.links.open(slot)?;
        match self.links.ready(slot, READY_LIMIT).await {
            Ok(true) => self.links.resume(slot, self.deaths.of(slot)),
            Ok(false) => {
                let message = format!("the container of slot {slot} never heard its invocation");
                Err(RuntimeError::new(RuntimeErrorKind::NotInvoked, message))
            }
            Err(error) => match ended(client, &name).await? {
                Some(ended) => Ok(Run::over(ended)),
                None => Err(error),
            },
        }
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let client = &self.engine.connected().await?.client;
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let name = name(slot);
        let removing = async {
            match client.remove_container(&name, Some(options)).await {
                Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
                answer => answer,
            }
        };
        within(deadline::KILL, "cannot remove the container", removing).await?;
        self.links.close(slot);
        self.deaths.forget(slot);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let client = &self.engine.connected().await?.client;
        list(client, &self.config.instance).await
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let client = &self.engine.connected().await?.client;
        let version = within(deadline::PING, "cannot reach the container engine", client.version()).await?;
        let is_podman = version.components.iter().flatten().any(|part| part.name.starts_with("Podman"));
        Ok(EngineInfo {
            name: if is_podman { "podman" } else { "docker" }.to_owned(),
            version: version.version.unwrap_or_default(),
        })
    }
}

#[async_trait]
impl Parking for Docker {
    async fn park(&self, slot: &SlotId, left: Arc<Notify>) -> Result<Parked, RuntimeError> {
        self.links.park(slot, left)
    }
}

pub(crate) fn name(slot: &SlotId) -> String {
    format!("mgx-{slot}")
}

/// Every container of `instance` that is there.
pub(crate) async fn list(client: &bollard::Docker, instance: &str) -> Result<Vec<Listed>, RuntimeError> {
    let label = format!("{INSTANCE_LABEL}={instance}");
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let listing = client.list_containers(Some(options));
    let containers = within(deadline::LOOK, "cannot list the containers", listing).await?;
    Ok(containers.iter().filter_map(listed).collect())
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

/// The error that tells why a container ended before its runner was ready.
async fn stillborn(client: &bollard::Docker, name: &str, ended: &Ended) -> RuntimeError {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("10").build();
    let mut words = String::new();
    let reading = async {
        let mut lines = client.logs(name, Some(options)).boxed();
        while let (Some(Ok(line)), true) = (lines.next().await, words.len() < MAX_LAST_WORDS) {
            words.push_str(&line.to_string());
        }
    };
    tokio::time::timeout(deadline::LOOK, reading).await.ok();
    words.truncate(words.floor_char_boundary(MAX_LAST_WORDS));
    let how = match ended {
        Ended::Died { code } => format!("with code {code}"),
        Ended::Reported(_) | Ended::Lost => "without a trace".to_owned(),
    };
    let message =
        format!("the container ended {how} before its runner was ready; its last words: {:?}", words.trim());
    RuntimeError::new(RuntimeErrorKind::NotReady, message)
}
