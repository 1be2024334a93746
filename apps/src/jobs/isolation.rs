//! What separates the containers of each kind of job from the host.

use mgx_runtimes::OciRuntime;
use mgx_scheduler::Kind;

/// The OCI runtime of the containers of each kind of job: what separates them from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// Agents and commands.
    pub agent: OciRuntime,
    /// Dev servers.
    pub dev: OciRuntime,
    /// Production builds.
    pub build: OciRuntime,
}

impl Isolation {
    /// The OCI runtime for one kind.
    pub fn of(&self, kind: Kind) -> OciRuntime {
        match kind {
            Kind::Agent => self.agent,
            Kind::Dev => self.dev,
            Kind::Build => self.build,
        }
    }
}
