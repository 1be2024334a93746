//! The engine's own floor: how long it takes to create and start the container of an agent, without the platform.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use mgx_protocol::SlotId;
use mgx_runtimes::pool::report::Report;
use mgx_runtimes::{ContainerEngine, ContainerSpec, Placement, Pool, Runtime, Workspace};

use crate::{Host, Overrides};

/// How long the engine may take to remove what is left of a job, and to fill the pool.
const QUIET_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts containers without the platform.
#[derive(Debug)]
pub(super) struct EngineFloor {
    containers: Arc<dyn ContainerEngine>,
    /// The containers of the platform that is measured in turns with this.
    of_platform: Arc<dyn ContainerEngine>,
    spec: ContainerSpec,
    dir: PathBuf,
}

impl EngineFloor {
    /// In the engine of the platform `instance`.
    pub(super) fn new(host: &dyn Host, overrides: &Overrides, instance: &str) -> anyhow::Result<Self> {
        let dir = overrides.data_dir.join("floor");
        std::fs::create_dir_all(dir.join("link"))?;
        std::fs::create_dir_all(dir.join("workspace"))?;
        // an instance of its own, so that no platform removes these containers
        let own_instance = format!("floor-{}", std::process::id());
        Ok(Self {
            containers: host.containers(overrides, &own_instance)?,
            of_platform: host.containers(overrides, instance)?,
            spec: host.settings().container,
            dir,
        })
    }

    /// Waits until the engine has nothing left to do for the last job: its container is removed, and the pool is full.
    pub(super) async fn until_quiet(&self, pool: Option<&Pool>) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let is_quiet = match pool {
                Some(pool) => pool.list().await?.is_empty() && pool.report().iter().all(Report::is_settled),
                None => self.of_platform.list().await?.is_empty(),
            };
            if is_quiet {
                return Ok(());
            }
            ensure!(
                began.elapsed() < QUIET_TIMEOUT,
                "the container of the last job is not removed, or the pool is not full"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Containers a second that the engine creates, starts and removes, `at_once` at a time.
    pub(super) async fn rate(&self, rounds: Range<u32>, at_once: usize) -> anyhow::Result<f64> {
        let count = u32::try_from(rounds.len())?;
        let began = Instant::now();
        let making = stream::iter(rounds).map(|round| self.start_container(round)).buffer_unordered(at_once);
        making.try_collect::<Vec<_>>().await?;
        Ok(f64::from(count) / began.elapsed().as_secs_f64())
    }

    /// How long create and start take. The container is removed before this resolves.
    pub(super) async fn start_container(&self, round: u32) -> anyhow::Result<Duration> {
        let slot: SlotId = format!("floor-{}-{round}", std::process::id()).parse()?;
        let placement = Placement {
            slot: slot.clone(),
            workspace: Some(Workspace::Directory(self.dir.join("workspace"))),
            labels: BTreeMap::new(),
        };
        let began = Instant::now();
        let started = async {
            self.containers.create(&self.spec, &placement, &self.dir.join("link")).await?;
            self.containers.start(&slot).await
        };
        let started = started.await;
        let took = began.elapsed();
        let removed = self.containers.remove(&slot).await;
        started.context("the engine cannot start the container")?;
        removed.context("the engine cannot remove the container")?;
        Ok(took)
    }
}
