//! What a container is made of ([`ContainerSpec`]), and what belongs to one container alone ([`Placement`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mgx_protocol::SlotId;
use serde::{Deserialize, Serialize};

/// What a container is made of: the same for every job of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The image; its entry point is the agent-runner.
    pub image: String,
    /// The resources that it may use.
    pub limits: Limits,
    /// Its network.
    pub network: Network,
    /// The program that isolates it from the host.
    #[serde(default)]
    pub oci_runtime: OciRuntime,
}

/// The resources that a container may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory; there is no swap beyond it.
    pub memory_bytes: u64,
    /// Microseconds of processor time in each period of 100 ms: 100 000 is one CPU.
    pub cpu_quota: u64,
    /// Processes and threads.
    pub pids: u32,
}

/// The network of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Loopback only. The LLM proxy is reached over the runner link.
    None,
}

/// The program with which the engine starts a container, and which isolates it from the host's kernel
/// (<https://github.com/opencontainers/runtime-spec>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OciRuntime {
    /// The engine's own.
    #[default]
    #[serde(rename = "")]
    Engines,
    /// runc: namespaces, control groups and a filter of system calls.
    Runc,
    /// crun: the same, in C.
    Crun,
    /// gVisor: a kernel of its own in user space; few of its system calls reach the host's kernel.
    Runsc,
}

impl OciRuntime {
    /// The name by which an engine knows it; `None` leaves the choice to the engine.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Engines => None,
            Self::Runc => Some("runc"),
            Self::Crun => Some("crun"),
            Self::Runsc => Some("runsc"),
        }
    }
}

/// What belongs to one container: its slot, and what is mounted into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its slot; the container is named after it.
    pub slot: SlotId,
    /// What is mounted at `/workspace`.
    pub workspace: Option<Workspace>,
    /// Labels for people who use the engine's own tools. They hold no secrets and are never read back.
    pub labels: BTreeMap<String, String>,
}

/// What is mounted at `/workspace`: a directory on the host, as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workspace {
    /// The workspace.
    Directory(PathBuf),
    /// An empty directory below a shared mount. The workspace is mounted over it later, and appears in the container
    /// because that has it as a slave (`rslave`).
    MountPoint(PathBuf),
}

impl Workspace {
    /// The directory to mount.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::MountPoint(path) => path,
        }
    }
}
