//! What the platform and the runner in a container say to each other over the runner link.
//!
//! The link is one unix socket in a directory that is mounted into the container. The platform listens, the
//! runner dials out. The first frame says what a connection is for:
//!
//! * [`FromRunner::Ready`]: the control connection. After it the platform may send one [`ToRunner::Claim`], which the
//!   runner confirms, and then sends one [`Invocation`]. Events flow back, each numbered, and each acknowledged once it
//!   is stored. [`Exit`] comes last and is repeated on every reconnection until the platform says
//!   [`ToRunner::Dismiss`].
//! * [`FromRunner::Tunnel`]: from here on raw bytes of one HTTP/1.1 connection to the LLM proxy, and nothing else.
//!
//! Frames are JSON behind a 32-bit big-endian length, at most [`crate::codec::MAX_FRAME_BYTES`] bytes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Attempt, EventKind, Invocation, JobId, Nonce, SlotId};

/// Version of this protocol. A runner of version 1 cannot be claimed; all else it says and hears is the same.
pub const VERSION: u32 = 2;

/// The oldest version of a runner that the platform still understands.
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
    /// Opens a connection that carries raw bytes to the LLM proxy.
    Tunnel,
    /// Confirms a claim. From now on the runner refuses every other claim.
    Claimed(Claimed),
    /// Something the agent did.
    Event(AgentEvent),
    /// The command has ended and every process of it is gone.
    Exit(Exit),
}

/// A frame to the runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum ToRunner {
    /// Takes the runner for one job, if it is the one that named this nonce. It answers [`FromRunner::Claimed`] once,
    /// and closes the connection of a claim with another nonce or of a second claim.
    Claim {
        /// From its [`Ready`].
        nonce: Nonce,
    },
    /// What to run. Sent once; a runner that has one already ignores a second.
    Invocation(Box<Invocation>),
    /// Every event up to and including `seq` is stored and may be forgotten.
    Ack {
        /// The highest stored event number.
        seq: u64,
    },
    /// Ask the command to end: SIGTERM to all its processes now, SIGKILL after the grace time.
    /// Repeating it can only bring the kill nearer.
    Stop {
        /// Milliseconds between SIGTERM and SIGKILL; 0 kills at once.
        grace_ms: u64,
    },
    /// The exit is stored; the runner may end.
    Dismiss,
}

/// Which runner opened the connection, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// [`VERSION`] of the runner.
    pub version: u32,
    /// The slot it was started for.
    pub slot: SlotId,
    /// The invocation it is busy with, if it has one: a reconnection.
    pub invoked: Option<(JobId, Attempt)>,
    /// What it can be claimed with, until it has been. Runners of version 1 have none.
    #[serde(default)]
    pub nonce: Option<Nonce>,
}

/// A claimed runner: its nonce, and the workspace that it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// What it was claimed with.
    pub nonce: Nonce,
    /// The directory at [`WORKSPACE_DIR`], if there is one.
    pub workspace: Option<DirectoryId>,
}

/// Which directory this is, as stat(2) names it: the same on the host and in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryId {
    /// The file system.
    pub dev: u64,
    /// Its inode there.
    pub ino: u64,
}

/// Something an agent did, numbered from 1 within its attempt without gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentEvent {
    /// Its number.
    pub seq: u64,
    /// When it happened, by the container's clock.
    pub at: Timestamp,
    /// What happened: `agent_start`, `message_delta`, `tool_start`, … (1 to 40 of a-z 0-9 _).
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// Which member of the team did it.
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
    /// Processes of this container that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// What made it end.
    pub cause: ExitCause,
    /// What the agent said of its own work in its `finish`, if it sent one. The scheduler weighs it.
    #[serde(rename = "claim")]
    pub reported: Option<ReportedResult>,
    /// Why it could not be started, or what went wrong, for people.
    pub error: Option<String>,
}

/// What made a command end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// It ended by itself.
    Ended,
    /// It was asked to stop.
    Stopped,
    /// It reached its deadline.
    Deadline,
    /// It could not be started.
    NotStarted,
}

/// What an agent says of its own work: untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedResult {
    /// Whether it did what it was asked.
    pub success: bool,
    /// If not, why.
    pub error: Option<String>,
}
