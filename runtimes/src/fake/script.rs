//! What a fake container does: plain data, so that a test can draw it from a seed.

use std::time::Duration;

use mgx_protocol::ReportedResult;

use crate::RuntimeErrorKind;

/// How the creation of a container goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The container is ready after this time.
    Ready(Duration),
    /// It is refused after this time, and no container exists.
    Fails(Duration, RuntimeErrorKind),
    /// The answer is an error, but the container exists.
    FailsButExists(Duration, RuntimeErrorKind),
}

/// What an invocation does, one act after the other. After the last act it sleeps until it is stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The acts, each after a pause.
    pub acts: Vec<(Duration, Act)>,
    /// How it responds to a stop.
    pub on_stop: OnStop,
}

/// One thing that a fake container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its agent sends an event of type `message_delta`.
    Say(String),
    /// Its command ends.
    Exit {
        /// With this code.
        code: i32,
        /// After the kernel has killed this many of its processes for want of memory.
        oom_kills: u64,
        /// With this result, as the agent reports it.
        reported: Option<ReportedResult>,
    },
    /// Its first process ends with this code before the runner has reported.
    Die(i64),
}

/// How a command responds to SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// It ends by itself after this time, unless SIGKILL ends it before.
    Ends(Duration),
    /// It ignores SIGTERM; SIGKILL ends it after the grace time.
    Ignores,
    /// The runner hangs too: the container has to be removed.
    Hangs,
}
