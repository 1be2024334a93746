//! What the platform and the runner in a container say to each other over the runner link.
//!
//! The link is one unix socket in a directory that is mounted into the container. The platform listens, the
//! runner dials out. The first frame says what a connection is for:
//!
//! * [`FromRunner::Ready`]: the control connection. After it the platform may send one [`ToRunner::Claim`], which the
//!   runner confirms, and then sends one [`Invocation`]; events flow back, each numbered and each acknowledged once it is stored; [`Exit`] comes last and is repeated on every
//!   reconnection until the platform says [`ToRunner::Dismiss`].
//! * [`FromRunner::Tunnel`]: from here on raw bytes of one HTTP/1.1 connection to the LLM proxy, and nothing else.
//!
//! Frames are JSON behind a 32-bit big-endian length, at most [`crate::codec::MAX_FRAME`] bytes.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Attempt, JobId, Nonce, SessionId, SlotId, WorkspaceId};

/// Version of this protocol. A runner of version 1 cannot be claimed; all else it says and hears is the same.
pub const VERSION: u32 = 2;

/// The oldest version of a runner that the platform still understands.
pub const OLDEST: u32 = 1;

/// The socket's name inside the link directory.
pub const SOCKET: &str = "link.sock";

/// Where the link directory is mounted in a container.
pub const LINK_DIR: &str = "/run/mgx";

/// Where the workspace is mounted in a container.
pub const WORKSPACE_DIR: &str = "/workspace";

/// The largest `data` of one event, in bytes of JSON.
pub const MAX_EVENT: usize = 64 * 1024;

/// A frame from the runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum FromRunner {
    /// Opens a control connection.
    Ready(Ready),
    /// Opens a connection that carries raw bytes to the LLM proxy.
    Tunnel,
    /// Confirms a claim. Nobody else can claim this runner any more.
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
    /// Asks the runner whether it is the one that named this nonce, and to belong to whoever asks from now on.
    /// It answers [`FromRunner::Claimed`] once, and hangs up on whoever claims it with another nonce, or again.
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

/// Who is calling, and how far it has come.
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

/// A runner that has been claimed: which one, and what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// What it was claimed with.
    pub nonce: Nonce,
    /// The directory at [`WORKSPACE_DIR`], if there is one.
    pub workspace: Option<Place>,
}

/// A directory, as stat(2) names it: the same on the host and in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file system.
    pub dev: u64,
    /// Its inode there.
    pub ino: u64,
}

/// Everything about one attempt at a job that its container learns only now: late binding.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// The job.
    pub job: JobId,
    /// The attempt; events are numbered within it.
    pub attempt: Attempt,
    /// The session.
    pub session: SessionId,
    /// The workspace that is mounted.
    pub workspace: WorkspaceId,
    /// What to run, program first. Empty: the agent team, described by `team`.
    pub argv: Vec<String>,
    /// The whole environment of the command; values may be secret and are never printed.
    pub env: BTreeMap<String, String>,
    /// The working directory: absolute, inside the workspace.
    pub workdir: String,
    /// Milliseconds the command may still run; the runner enforces them by itself.
    pub timeout_ms: u64,
    /// Milliseconds between SIGTERM and SIGKILL at the deadline.
    pub grace_ms: u64,
    /// The team to run when `argv` is empty.
    pub team: Team,
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("job", &self.job)
            .field("attempt", &self.attempt)
            .field("session", &self.session)
            .field("argv", &self.argv)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("timeout_ms", &self.timeout_ms)
            .finish_non_exhaustive()
    }
}

/// An agent team: roles that work one after the other, in this order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Team {
    /// The roles, first to last.
    pub roles: Vec<Role>,
    /// How many model calls one role may make.
    pub max_turns: u32,
}

/// One member of the team.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Machine name, as in the events' `agent_name`: `engineer`.
    pub name: String,
    /// The model it speaks to.
    pub model: String,
    /// Sampling temperature; the provider's default if absent.
    pub temperature: Option<f32>,
    /// Its system prompt.
    pub prompt: String,
    /// The tools it may use, by name.
    pub tools: Vec<String>,
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
    pub kind: String,
    /// Which member of the team did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The rest; a JSON object of at most [`MAX_EVENT`] bytes.
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
    /// What the agent says of its own work (its `finish`), if it said so: a claim, which the scheduler weighs.
    pub claim: Option<Claim>,
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

/// What an agent says of its own work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Whether it did what it was asked.
    pub success: bool,
    /// If not, why.
    pub error: Option<String>,
}
