//! The limits on what may run, each with its key in the configuration: what users are told of a limit is that key.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::job::Kind;

/// A limit on what may run at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKey {
    /// Jobs in all.
    Running,
    /// Jobs of a kind.
    Kind(Kind),
    /// What all jobs together use.
    Host(Resource),
    /// Jobs of a user.
    UserJobs,
    /// What the jobs of a user use.
    User(Resource),
    /// What the jobs of a session use.
    Session(Resource),
    /// One job of a concurrency group: not the operator's limit but the job's own.
    Group,
}

/// A resource that jobs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Processor time.
    Cpu,
    /// Processes and threads.
    Pids,
}

impl LimitKey {
    /// Every limit.
    pub const ALL: [Self; 15] = [
        Self::Running,
        Self::Kind(Kind::Agent),
        Self::Kind(Kind::Dev),
        Self::Kind(Kind::Build),
        Self::Host(Resource::Memory),
        Self::Host(Resource::Cpu),
        Self::Host(Resource::Pids),
        Self::UserJobs,
        Self::User(Resource::Memory),
        Self::User(Resource::Cpu),
        Self::User(Resource::Pids),
        Self::Session(Resource::Memory),
        Self::Session(Resource::Cpu),
        Self::Session(Resource::Pids),
        Self::Group,
    ];

    /// Its key in the configuration, if it has one.
    pub const fn config_key(self) -> Option<&'static str> {
        Some(match self {
            Self::Running => "scheduler.max_running",
            Self::Kind(Kind::Agent) => "kinds.agent",
            Self::Host(Resource::Memory) => "quotas.host_memory",
            Self::Host(Resource::Cpu) => "quotas.host_cpu_quota",
            Self::Host(Resource::Pids) => "quotas.host_pids",
            Self::UserJobs => "quotas.user_jobs",
            Self::User(Resource::Memory) => "quotas.user_memory",
            Self::User(Resource::Cpu) => "quotas.user_cpu_quota",
            Self::User(Resource::Pids) => "quotas.user_pids",
            Self::Session(Resource::Memory) => "quotas.session_memory",
            Self::Session(Resource::Cpu) => "quotas.session_cpu_quota",
            Self::Session(Resource::Pids) => "quotas.session_pids",
            // the configuration has no limit for these kinds
            Self::Kind(Kind::Dev | Kind::Build) | Self::Group => return None,
        })
    }

    /// What users are told: its key in the configuration, or what it is on.
    pub const fn as_str(self) -> &'static str {
        match (self, self.config_key()) {
            (_, Some(key)) => key,
            (Self::Kind(Kind::Dev), None) => "dev jobs",
            (Self::Kind(Kind::Build), None) => "build jobs",
            (_, None) => "group",
        }
    }
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for LimitKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
