//! The seam: `trait Runtime`, and the values that cross it.
//!
//! A [`ContainerSpec`] says nothing of any one job, so equal specs are interchangeable. What belongs to this one
//! container is its [`Placement`]; what belongs to this one job arrives with the [`Invocation`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use mgx_protocol::SlotId;
use mgx_protocol::{AgentEvent, Exit, Invocation};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::RuntimeError;

/// Makes boxes, runs one invocation in each, and destroys them.
///
/// Every call has a deadline of its own and answers within it; `remove` and `list` may be repeated at will.
/// `conformance.rs` says in tests what this means exactly.
#[async_trait]
pub trait Runtime: Send + Sync + fmt::Debug {
    /// Makes a container and resolves when the runner inside has said it is ready.
    ///
    /// # Errors
    /// `Conflict` if the slot is taken; a container that could not become ready has been removed again.
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError>;

    /// Runs `invocation` in the container of `slot`, which serves no other ever after.
    ///
    /// # Errors
    /// `NotFound` if there is no ready container in the slot.
    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError>;

    /// Takes up a run that an earlier process of the platform began. Resolves when the runner has called back,
    /// or with a [`Run`] that reports the container's death if it died meanwhile.
    ///
    /// # Errors
    /// `NotFound` if there is no container in the slot, `NotInvoked` if it was never given its invocation,
    /// `NotReady` if its runner does not call back.
    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError>;

    /// Kills and deletes the container of `slot` and all that was made for it. Succeeds if there is none.
    ///
    /// # Errors
    /// `Unavailable` or `Deadline`: it may still be there.
    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError>;

    /// Every container that this instance of the platform has made and not removed.
    ///
    /// # Errors
    /// `Unavailable` or `Deadline`.
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError>;

    /// Whether the engine answers, and what it is.
    ///
    /// # Errors
    /// `Unavailable` or `Deadline`.
    async fn info(&self) -> Result<EngineInfo, RuntimeError>;
}

/// What a container is made of: the same for every job of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The image; its entry point is the agent-runner.
    pub image: String,
    /// What it may use.
    pub limits: Limits,
    /// Whom it may talk to.
    pub network: Network,
    /// What separates it from the host.
    #[serde(default)]
    pub oci_runtime: OciRuntime,
}

/// What a container may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory; there is no swap beyond it.
    pub memory_bytes: u64,
    /// Microseconds of processor time in each period of 100 ms: 100 000 is one CPU.
    pub cpu_quota: u64,
    /// Processes and threads.
    pub pids: u32,
}

/// Whom a container may talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nobody: loopback only. The LLM proxy comes over the runner link.
    None,
}

/// What separates a container from the host's kernel: the program that the engine starts it with
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
    /// gVisor: a kernel of its own, in user space; the host's sees next to nothing of what it is asked.
    Runsc,
}

impl OciRuntime {
    /// Its name for an engine; `None`: there is nothing to ask for.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Engines => None,
            Self::Runc => Some("runc"),
            Self::Crun => Some("crun"),
            Self::Runsc => Some("runsc"),
        }
    }
}

/// What belongs to one container: its place, and what is mounted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its slot; the container is named after it.
    pub slot: SlotId,
    /// What is mounted at `/workspace`.
    pub workspace: Option<Workspace>,
    /// Labels for people who look with the engine's own tools. Never secret, never read back.
    pub labels: BTreeMap<String, String>,
}

/// What is mounted at `/workspace`: a directory on the host, as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workspace {
    /// The workspace.
    Directory(PathBuf),
    /// A place over which the workspace is mounted later: what the host mounts there appears in the container
    /// (`rslave`). It is below a mount that is shared.
    Seat(PathBuf),
}

impl Workspace {
    /// The directory to mount.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Seat(path) => path,
        }
    }
}

/// One invocation under way: what comes out of it, and what it can be told.
#[derive(Debug)]
pub struct Run {
    outputs: mpsc::Receiver<Output>,
    commands: mpsc::Sender<Command>,
}

impl Run {
    /// How many outputs may wait to be read before the runner has to wait.
    pub const BACKLOG: usize = 256;

    /// A run that reads from `outputs` and speaks into `commands`.
    pub fn new(outputs: mpsc::Receiver<Output>, commands: mpsc::Sender<Command>) -> Self {
        Self { outputs, commands }
    }

    /// A run that was over before anybody could take it up.
    pub(crate) fn over(ended: Ended) -> Self {
        let (outputs, outputs_of_run) = mpsc::channel(1);
        let (commands, _) = mpsc::channel(1);
        outputs.try_send(Output::Ended(ended)).ok();
        Self::new(outputs_of_run, commands)
    }

    /// Waits for the next output and takes with it all that is already there, at most `limit`.
    /// The last of all is [`Output::Ended`]. Cancel-safe.
    pub async fn next(&mut self, limit: usize) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.outputs.recv_many(&mut outputs, limit).await == 0 {
            outputs.push(Output::Ended(Ended::Lost));
        }
        outputs
    }

    /// Tells the runner something. A run that has ended hears nothing, and that is no error.
    pub async fn tell(&self, command: Command) {
        self.commands.send(command).await.ok();
    }
}

/// Something that came out of a container.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The agent did something.
    Event(AgentEvent),
    /// The invocation is over; nothing follows.
    Ended(Ended),
}

/// How an invocation ended, and how we know.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The runner said so, after its last process was gone.
    Reported(Exit),
    /// The container died without a word; the engine has its exit code.
    Died {
        /// The exit code of PID 1, 128 + the signal's number if a signal ended it.
        code: i64,
    },
    /// The container is gone and nobody knows how it ended.
    Lost,
}

/// Something to tell a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Events up to this number are stored.
    Ack(u64),
    /// End the command: SIGTERM now, SIGKILL after the grace time.
    Stop(Duration),
    /// The exit is stored.
    Dismiss,
}

/// A container that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its slot.
    pub slot: SlotId,
    /// Whether it still runs.
    pub running: bool,
}

/// An engine, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// `docker`, `podman`, `process`, `fake`.
    pub name: String,
    /// Its version.
    pub version: String,
}
