//! What a fake container does: plain data, so that a test can draw it from a seed.

use std::time::Duration;

use mgx_protocol::ReportedResult;

use crate::RuntimeErrorKind;

/// How a creation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// The container is ready after this time.
    Ready(Duration),
    /// It is refused after this time, and there is none.
    Fails(Duration, RuntimeErrorKind),
    /// The answer is an error, but the container is there.
    FailsButIsThere(Duration, RuntimeErrorKind),
}

/// What an invocation does, one act after the other. One that has none left sleeps until it is stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The acts, each after a pause.
    pub acts: Vec<(Duration, Act)>,
    /// What it makes of being asked to stop.
    pub on_stop: OnStop,
}

/// One thing that a fake container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its agent says something: an event of type `message_delta`.
    Say(String),
    /// Its command ends.
    Exit {
        /// With this code.
        code: i32,
        /// After the kernel has killed so many of its processes for want of memory.
        oom_kills: u64,
        /// And this result, as the agent reports it.
        reported: Option<ReportedResult>,
    },
    /// Its first process dies with this code, without a word.
    Die(i64),
}

/// What a command makes of SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// It ends by itself after this time, if it is given it.
    Ends(Duration),
    /// Nothing; SIGKILL ends it after the grace time.
    Ignores,
    /// Not even the runner hears: the container has to be removed.
    Hangs,
}
