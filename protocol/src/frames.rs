//! The frames of the runner link, between the platform and the runner in a container.
//!
//! The link is a unix socket in a directory that is mounted into the container. The platform listens, and the runner
//! connects. The first frame says what a connection is for:
//!
//! * [`FromRunner::Ready`]: the control connection. The platform may send one [`ToRunner::Claim`], which the runner confirms,
//!   and then sends one [`Invocation`]. The runner sends numbered events, and the platform acknowledges them when they are
//!   stored. [`Exit`] comes last, and again after every reconnection, until the platform sends [`ToRunner::Dismiss`].
//! * [`FromRunner::Tunnel`]: the bytes of one HTTP/1.1 connection to the LLM proxy follow, without further frames.
//!
//! Frames are JSON behind a 32-bit big-endian length, at most [`crate::codec::MAX_FRAME_BYTES`] bytes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Attempt, EventKind, Invocation, JobId, Nonce, SlotId};

/// The version of this protocol. A runner of version 1 cannot be claimed; everything else is the same.
pub const VERSION: u32 = 2;

/// The oldest version of a runner that the platform supports.
pub const OLDEST_VERSION: u32 = 1;

/// The socket's name inside the link directory.
pub const LINK_SOCKET: &str = "link.sock";

/// Where the link directory is mounted in a container.
pub const LINK_DIR: &str = "/run/mgx";

/// Where the workspace is mounted in a container.
pub const WORKSPACE_DIR: &str = "/workspace";

/// The largest `data` of one event, in bytes of JSON.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// A frame from the runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum FromRunner {
    /// Opens a control connection.
    Ready(Ready),
    /// Opens a connection to the LLM proxy, which carries raw bytes.
    Tunnel,
    /// Confirms a claim. The runner refuses every further claim.
    Claimed(Claimed),
    /// An event of the agent.
    Event(AgentEvent),
    /// The command has ended and every process of it is gone.
    Exit(Exit),
}

/// A frame to the runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum ToRunner {
    /// Claims the runner for one job. It answers [`FromRunner::Claimed`] if the nonce is its own, and closes the connection
    /// after a claim with another nonce and after a second claim.
    Claim {
        /// From its [`Ready`].
        nonce: Nonce,
    },
    /// What to run. A runner that has an invocation ignores a second one.
    Invocation(Box<Invocation>),
    /// Every event up to and including `seq` is stored, so that the runner may drop it.
    Ack {
        /// The highest stored event number.
        seq: u64,
    },
    /// Ends the command: SIGTERM to all its processes now, SIGKILL after the grace time. A repetition can only bring
    /// SIGKILL nearer.
    Stop {
        /// Milliseconds between SIGTERM and SIGKILL; 0 kills at once.
        grace_ms: u64,
    },
    /// The exit is stored, so that the runner may end.
    Dismiss,
}

/// The runner of a control connection, and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The [`VERSION`] of the runner.
    pub version: u32,
    /// The slot it was started for.
    pub slot: SlotId,
    /// The invocation that it has, after a reconnection.
    pub invoked: Option<(JobId, Attempt)>,
    /// The nonce for its claim, until it was claimed. Runners of version 1 have none.
    #[serde(default)]
    pub nonce: Option<Nonce>,
}

/// The confirmation of a claim: the runner's nonce, and the workspace that it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// The nonce of the claim.
    pub nonce: Nonce,
    /// The directory at [`WORKSPACE_DIR`], if there is one.
    pub workspace: Option<DirectoryId>,
}

/// The identity of a directory (stat(2)), which is the same on the host and in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryId {
    /// The device of its file system.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
}

/// An event of an agent, numbered from 1 within its attempt without gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentEvent {
    /// Its number.
    pub seq: u64,
    /// When it happened, by the container's clock.
    pub at: Timestamp,
    /// What happened: `agent_start`, `message_delta`, `tool_start`, … (1 to 40 of a-z 0-9 _).
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The role of the team that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The rest; a JSON object of at most [`MAX_EVENT_BYTES`] bytes.
    pub data: serde_json::Map<String, serde_json::Value>,
}

/// How the command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// The number of the last event before it, 0 if there was none.
    pub last_seq: u64,
    /// When the last process was gone.
    pub at: Timestamp,
    /// Exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// How many processes of the container the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Why it ended.
    pub cause: ExitCause,
    /// The result that the agent reported with `finish`, if it did. The scheduler decides what it counts.
    #[serde(rename = "claim")]
    pub reported: Option<ReportedResult>,
    /// Why it could not be started or ended, for people.
    pub error: Option<String>,
}

/// Why a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// It ended by itself.
    Ended,
    /// The platform, or a SIGTERM to the runner, has stopped it.
    Stopped,
    /// It reached its deadline.
    Deadline,
    /// It could not be started.
    NotStarted,
}

/// The result of a job as its agent reports it. Untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedResult {
    /// Whether the agent has done its task.
    pub success: bool,
    /// Why it has not.
    pub error: Option<String>,
    /// The task cannot go on now, because the model's provider is away, and is to go on after so many seconds from the
    /// messages that are stored. `success` is false then, and `error` says what the provider has said.
    #[serde(default)]
    pub resume_after_s: Option<u32>,
}
