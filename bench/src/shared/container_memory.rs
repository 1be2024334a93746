//! How much memory a waiting container takes up.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mgx_protocol::SlotId;
use mgx_runtimes::pool::memory_of;
use mgx_runtimes::{ContainerSpec, Placement, PoolableRuntime, WarmContainer, Workspace};
use rustix::process::Pid;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::process_memory::mib;
use super::statistics::percentile;
use crate::{Host, Overrides};

/// The number of containers that are measured.
const COUNT: u32 = 3;

/// How long the containers have until they are measured.
const REST: Duration = Duration::from_secs(1);

/// Memory of one container: the median of [`COUNT`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ContainerMemory {
    /// MiB of its control group.
    pub(crate) container_mib: f64,
    /// MiB of its parent process, which the engine keeps for it; pages that it shares count in proportion.
    pub(crate) keeper_mib: f64,
}

impl ContainerMemory {
    /// Of a waiting container in the engine of the runtime; `None` if the runtime has no containers, or the kernel does
    /// not report their memory. Makes containers beside the data directory, and removes them.
    pub(crate) async fn measure(host: &dyn Host, overrides: &Overrides) -> anyhow::Result<Option<Self>> {
        // beside the data directory of a platform that may be running; the name is short, so that the sockets fit into
        // the directory, and are removed with it
        let overrides = Overrides { data_dir: overrides.data_dir.with_file_name("s"), ..overrides.clone() };
        let Some(engine) = host.parking(&overrides, &format!("slots-{}", std::process::id()))? else {
            return Ok(None);
        };
        let slots: Vec<SlotId> =
            (0..COUNT).map(|number| format!("bench-slot-{number}").parse()).collect::<Result<_, _>>()?;
        let workspace = overrides.data_dir.join("slot");
        let measured = start_and_measure(&*engine, &host.settings().container, &workspace, &slots).await;
        for slot in &slots {
            engine.remove(slot).await.context("cannot remove a container")?;
        }
        measured
    }

    /// The container and its parent process together.
    pub(crate) fn mib(self) -> f64 {
        self.container_mib + self.keeper_mib
    }

    pub(crate) fn report(self) -> Value {
        json!({ "container": self.container_mib, "keeper": self.keeper_mib })
    }
}

async fn start_and_measure(
    engine: &dyn PoolableRuntime,
    spec: &ContainerSpec,
    workspace: &Path,
    slots: &[SlotId],
) -> anyhow::Result<Option<ContainerMemory>> {
    fs::create_dir_all(workspace)?;
    let disconnected = Arc::new(Notify::new());
    let mut parked = Vec::new();
    for slot in slots {
        let workspace = Some(Workspace::Directory(workspace.to_owned()));
        let placement = Placement { slot: slot.clone(), workspace, labels: BTreeMap::new() };
        engine.create(spec, &placement).await?;
        parked.push(engine.keep_warm(slot, Arc::clone(&disconnected)).await?);
    }
    tokio::time::sleep(REST).await;
    let processes = parked.iter().filter_map(WarmContainer::process);
    let found: Option<Vec<(f64, f64)>> =
        processes.map(|process| Some((mib(memory_of(process)?), keeper_mib(process)?))).collect();
    let Some(found) = found.filter(|found| !found.is_empty()) else { return Ok(None) };
    let (containers, keepers): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    Ok(Some(ContainerMemory {
        container_mib: percentile(&containers, 50),
        keeper_mib: percentile(&keepers, 50),
    }))
}

/// MiB of the parent of `process` (`Pss` in `proc_pid_smaps(5)`).
fn keeper_mib(process: Pid) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
    let rollup = fs::read_to_string(format!("/proc/{parent}/smaps_rollup")).ok()?;
    let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().strip_suffix("kB")?;
    Some(mib(share.trim().parse::<u64>().ok()? * 1024))
}
