//! What a container that waits holds in memory.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mgx_protocol::SlotId;
use mgx_runtimes::pool::memory_of;
use mgx_runtimes::{ContainerSpec, Limits, Network, Parked, Parking, Placement, Runtime, Workspace};
use rustix::process::Pid;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::{apart, percentile, resident};
use crate::config::{Config, RuntimeName};
use crate::data_dir;
use crate::engine::parking;

/// How many are looked at.
const COUNT: u32 = 3;

/// How long they may take to come to rest.
const REST: Duration = Duration::from_secs(1);

/// Bytes of one container: the middle of some.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    /// MiB of its control group.
    pub(super) container_mib: f64,
    /// MiB of its parent, which the engine keeps for it; what it shares with others is shared out.
    pub(super) keeper_mib: f64,
}

impl Memory {
    /// Of a container that waits, on the engine of `config`; nothing if the runtime has none, or the kernel does not
    /// say. Makes some, beside the data directory, and removes them.
    pub(super) async fn measure(config: &Config) -> anyhow::Result<Option<Self>> {
        match config.runtime {
            RuntimeName::Docker | RuntimeName::PoolDocker | RuntimeName::Podman | RuntimeName::PoolPodman => {
            }
            RuntimeName::Process | RuntimeName::Null => return Ok(None),
        }
        // beside a platform that may be there, and has everything in its own directory to itself; the name is short, so
        // that the sockets are there too, and go away with the rest
        let config = &apart(config.clone(), config.server.data_dir.with_file_name("s"));
        data_dir::make(&config.server.data_dir)?;
        let (tunnels, _served) = mpsc::channel(1);
        let engine = parking(config, &format!("slots-{}", std::process::id()), tunnels)?;
        let slots: Vec<SlotId> =
            (0..COUNT).map(|number| format!("bench-slot-{number}").parse()).collect::<Result<_, _>>()?;
        let measured = look(config, &engine, &slots).await;
        for slot in &slots {
            engine.remove(slot).await.context("a container is left over")?;
        }
        measured
    }

    /// Both.
    pub(super) fn mib(self) -> f64 {
        self.container_mib + self.keeper_mib
    }

    pub(super) fn report(self) -> Value {
        json!({ "container": self.container_mib, "keeper": self.keeper_mib })
    }
}

async fn look(config: &Config, engine: &dyn Parking, slots: &[SlotId]) -> anyhow::Result<Option<Memory>> {
    let limits = Limits {
        memory_bytes: config.agent.memory.bytes(),
        cpu_quota: config.agent.cpu_quota.get(),
        pids: config.agent.pids.small(),
    };
    let spec = ContainerSpec {
        image: config.agent.image.clone(),
        limits,
        network: Network::None,
        oci_runtime: config.isolation.agent,
    };
    let workspace = config.server.data_dir.join("slot");
    fs::create_dir_all(&workspace)?;
    let left = Arc::new(Notify::new());
    let mut parked = Vec::new();
    for slot in slots {
        let workspace = Some(Workspace::Directory(workspace.clone()));
        let placement = Placement { slot: slot.clone(), workspace, labels: BTreeMap::new() };
        engine.create(&spec, &placement).await?;
        parked.push(engine.park(slot, Arc::clone(&left)).await?);
    }
    tokio::time::sleep(REST).await;
    let processes = parked.iter().filter_map(Parked::process);
    let found: Option<Vec<(f64, f64)>> =
        processes.map(|process| Some((used(process)?, keeper(process)?))).collect();
    let Some(found) = found.filter(|found| !found.is_empty()) else { return Ok(None) };
    let (containers, keepers): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    Ok(Some(Memory { container_mib: percentile(&containers, 50), keeper_mib: percentile(&keepers, 50) }))
}

fn used(process: Pid) -> Option<f64> {
    memory_of(process).map(resident::mib)
}

/// MiB of the parent of `process` (`proc_pid_smaps(5)`: `Pss`).
fn keeper(process: Pid) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
    let rollup = fs::read_to_string(format!("/proc/{parent}/smaps_rollup")).ok()?;
    let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().strip_suffix("kB")?;
    Some(resident::mib(share.trim().parse::<u64>().ok()? * 1024))
}
