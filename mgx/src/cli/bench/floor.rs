//! The engine's own floor: creating and starting the very same container, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bollard::Docker;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use mgx_agent_runner::SlotId;
use mgx_runtimes::hardening::{Dialect, Hardening};
use mgx_runtimes::{ContainerSpec, Limits, Network, Placement, Workspace};

use crate::assemble::{container_user, docker_host};
use crate::config::Config;

/// How long the engine may take to become quiet.
const QUIET: Duration = Duration::from_secs(30);

/// Makes containers without us.
#[derive(Debug)]
pub(super) struct Floor {
    docker: Docker,
    hardening: Hardening,
    spec: ContainerSpec,
    dir: PathBuf,
}

impl Floor {
    /// On the engine of `config`, with the container of its agents.
    pub(super) async fn new(config: &Config) -> anyhow::Result<Self> {
        let docker = Docker::connect_with_host(&docker_host(config))?.negotiate_version().await?;
        let cgroup_v1 =
            docker.info().await?.cgroup_version == Some(bollard::models::SystemInfoCgroupVersionEnum::_1);
        let dir = config.server.data_dir.join("floor");
        std::fs::create_dir_all(dir.join("link"))?;
        std::fs::create_dir_all(dir.join("workspace"))?;
        let limits = Limits {
            memory_bytes: config.agent.memory.bytes(),
            cpu_quota: config.agent.cpu_quota.get(),
            pids: config.agent.pids.small(),
        };
        // An instance of its own: no platform takes these containers for its own.
        let instance = format!("floor-{}", std::process::id());
        Ok(Self {
            docker,
            hardening: Hardening {
                instance,
                user: container_user(),
                swappiness: cgroup_v1,
                dialect: Dialect::Docker,
            },
            spec: ContainerSpec { image: config.agent.image.clone(), limits, network: Network::None },
            dir,
        })
    }

    /// Waits until the engine has nothing left to do for the last trial: its container is gone.
    pub(super) async fn quiet(&self, session: &str) -> anyhow::Result<()> {
        let label = HashMap::from([("label", vec![format!("mgx.session={session}")])]);
        let began = Instant::now();
        loop {
            let options = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
            if self.docker.list_containers(Some(options)).await?.is_empty() {
                return Ok(());
            }
            ensure!(began.elapsed() < QUIET, "the container of the last trial is not removed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How long create and start take.
    pub(super) async fn once(&self, round: u32) -> anyhow::Result<Duration> {
        let slot: SlotId = format!("floor-{}-{round}", std::process::id()).parse()?;
        let name = format!("mgx-{slot}");
        let placement = Placement {
            slot,
            workspace: Some(Workspace::Directory(self.dir.join("workspace"))),
            labels: BTreeMap::new(),
        };
        let body = self.hardening.container(&self.spec, &placement, &self.dir.join("link"));
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let began = Instant::now();
        let started = async {
            self.docker.create_container(Some(options), body).await?;
            self.docker.start_container(&name, None).await
        };
        let started = started.await;
        let took = began.elapsed();
        let remove = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removed = self.docker.remove_container(&name, Some(remove)).await;
        started.context("the engine cannot start the container")?;
        removed.context("the engine cannot remove the container")?;
        Ok(took)
    }
}
