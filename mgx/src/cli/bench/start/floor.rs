//! The engine's own floor: creating and starting the very same container, and nothing else.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use mgx_protocol::SlotId;
use mgx_runtimes::pool::report::Report;
use mgx_runtimes::{ContainerSpec, Containers, Limits, Network, Placement, Pool, Runtime, Workspace};

use crate::config::Config;
use crate::engine::containers;

/// How long the engine may take to become quiet.
const QUIET: Duration = Duration::from_secs(30);

/// Makes containers without us.
#[derive(Debug)]
pub(super) struct Floor {
    ours: Arc<dyn Containers>,
    /// Those of the platform that is measured beside.
    theirs: Arc<dyn Containers>,
    spec: ContainerSpec,
    dir: PathBuf,
}

impl Floor {
    /// On the engine of `config`, with the container of its agents, beside the platform `instance`.
    pub(super) fn new(config: &Config, instance: &str) -> anyhow::Result<Self> {
        let dir = config.server.data_dir.join("floor");
        std::fs::create_dir_all(dir.join("link"))?;
        std::fs::create_dir_all(dir.join("workspace"))?;
        let limits = Limits {
            memory_bytes: config.agent.memory.bytes(),
            cpu_quota: config.agent.cpu_quota.get(),
            pids: config.agent.pids.small(),
        };
        // An instance of its own: no platform takes these containers for its own.
        let instance_of_ours = format!("floor-{}", std::process::id());
        Ok(Self {
            ours: containers(config, &instance_of_ours)?,
            theirs: containers(config, instance)?,
            spec: ContainerSpec {
                image: config.agent.image.clone(),
                limits,
                network: Network::None,
                oci_runtime: config.isolation.agent,
            },
            dir,
        })
    }

    /// Waits until the engine has nothing left to do for the last trial: its container is gone, or the pool is full.
    pub(super) async fn quiet(&self, pool: Option<&Pool>) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let is_quiet = match pool {
                Some(pool) => pool.list().await?.is_empty() && pool.report().iter().all(Report::is_settled),
                None => self.theirs.list().await?.is_empty(),
            };
            if is_quiet {
                return Ok(());
            }
            ensure!(
                began.elapsed() < QUIET,
                "the container of the last trial is not removed, or the pool not full"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Containers a second that the engine creates, starts and removes, `at_once` at a time.
    pub(super) async fn rate(&self, rounds: Range<u32>, at_once: usize) -> anyhow::Result<f64> {
        let count = u32::try_from(rounds.len())?;
        let began = Instant::now();
        let making = stream::iter(rounds).map(|round| self.once(round)).buffer_unordered(at_once);
        making.try_collect::<Vec<_>>().await?;
        Ok(f64::from(count) / began.elapsed().as_secs_f64())
    }

    /// How long create and start take. It is removed before this resolves.
    pub(super) async fn once(&self, round: u32) -> anyhow::Result<Duration> {
        let slot: SlotId = format!("floor-{}-{round}", std::process::id()).parse()?;
        let placement = Placement {
            slot: slot.clone(),
            workspace: Some(Workspace::Directory(self.dir.join("workspace"))),
            labels: BTreeMap::new(),
        };
        let began = Instant::now();
        let started = async {
            self.ours.create(&self.spec, &placement, &self.dir.join("link")).await?;
            self.ours.start(&slot).await
        };
        let started = started.await;
        let took = began.elapsed();
        let removed = self.ours.remove(&slot).await;
        started.context("the engine cannot start the container")?;
        removed.context("the engine cannot remove the container")?;
        Ok(took)
    }
}
