//! The connection to a container engine: made when it is first needed, and every call with a deadline.

use std::fmt;
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::SystemInfoCgroupVersionEnum;
use tokio::sync::OnceCell;

use crate::{RuntimeError, RuntimeErrorKind};

/// How long to wait for the engine, by what is asked of it.
pub(crate) mod deadline {
    use std::time::Duration;

    pub(crate) const PING: Duration = Duration::from_secs(2);
    pub(crate) const LOOK: Duration = Duration::from_secs(5);
    /// What Podman is: it asks the package manager for the versions of its parts, which takes seconds on a busy
    /// machine.
    pub(crate) const ABOUT: Duration = Duration::from_secs(30);
    pub(crate) const CREATE: Duration = Duration::from_secs(30);
    pub(crate) const KILL: Duration = Duration::from_secs(10);
    pub(crate) const IMPORT: Duration = Duration::from_mins(2);
}

/// A container engine that speaks the Docker API, there or not.
pub struct Engine {
    host: String,
    connected: OnceCell<Connected>,
}

/// An engine that has answered once.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) client: bollard::Docker,
    pub(crate) cgroup_v1: bool,
    pub(crate) is_podman: bool,
    pub(crate) version: String,
}

impl Engine {
    /// The engine at `host`: `unix:///var/run/docker.sock`, or the path alone.
    pub fn new(host: impl Into<String>) -> Self {
        let host = host.into();
        let host = if host.contains("://") { host } else { format!("unix://{host}") };
        Self { host, connected: OnceCell::new() }
    }

    /// The client, after the first call in the highest version of the API that both sides speak.
    pub(crate) async fn connected(&self) -> Result<&Connected, RuntimeError> {
        self.connected.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Connected, RuntimeError> {
        let unreachable = || format!("cannot reach the container engine at {}", self.host);
        let client = bollard::Docker::connect_with_host(&self.host).map_err(|error| {
            RuntimeError::new(RuntimeErrorKind::Unavailable, unreachable()).because(error)
        })?;
        within(deadline::PING, &unreachable(), client.ping()).await?;
        let client = within(deadline::ABOUT, &unreachable(), client.negotiate_version()).await?;
        let info = within(deadline::ABOUT, "ask the engine about itself", client.info()).await?;
        let cgroup_v1 = info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1);
        // only Podman has this log driver
        let is_podman = info
            .plugins
            .and_then(|plugins| plugins.log)
            .is_some_and(|drivers| drivers.iter().any(|driver| driver == "k8s-file"));
        let version = info.server_version.unwrap_or_default();
        Ok(Connected { client, cgroup_v1, is_podman, version })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What `call` answers within `limit`. `what` says in an error what was tried.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, RuntimeError> {
    let answer = tokio::time::timeout(limit, call).await.map_err(|_| {
        let message = format!("{what}: no answer from the engine within {} s", limit.as_secs());
        RuntimeError::new(RuntimeErrorKind::Deadline, message)
    })?;
    answer.map_err(|error| explained(what, error))
}

/// The HTTP status with which the engine refused, if that is what happened.
pub(crate) fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn explained(what: &str, error: EngineError) -> RuntimeError {
    let kind = match &error {
        EngineError::DockerResponseServerError { status_code: 404, message } => {
            if message.to_ascii_lowercase().contains("no such image") {
                RuntimeErrorKind::ImageMissing
            } else {
                RuntimeErrorKind::NotFound
            }
        }
        EngineError::DockerResponseServerError { status_code: 409, .. } => RuntimeErrorKind::Conflict,
        // Podman has no other status for it
        EngineError::DockerResponseServerError { status_code: 500, message }
            if message.contains("name is already in use") || message.contains("container state improper") =>
        {
            RuntimeErrorKind::Conflict
        }
        // Docker: it ended by itself between being seen and being killed
        EngineError::DockerResponseServerError { status_code: 500, message }
            if message.contains("cannot remove") && message.contains("is not running") =>
        {
            RuntimeErrorKind::Conflict
        }
        EngineError::RequestTimeoutError => RuntimeErrorKind::Deadline,
        EngineError::IOError { .. }
        | EngineError::HyperResponseError { .. }
        | EngineError::HyperLegacyError { .. }
        | EngineError::SocketNotFoundError(_) => RuntimeErrorKind::Unavailable,
        // The engine answered, with a refusal or with something that is not its API.
        _ => RuntimeErrorKind::Refused,
    };
    RuntimeError::new(kind, what).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_mean_is_told_from_what_they_say() {
        use RuntimeErrorKind::{Conflict, ImageMissing, NotFound, Refused};
        for (status_code, message, kind) in [
            (404, "No such image: x:latest", ImageMissing),
            (404, "No such container: x", NotFound),
            (409, "Conflict. The container name \"/x\" is already in use", Conflict),
            (500, "container state improper", Conflict),
            (500, "Could not kill running container 1, cannot remove - Container 1 is not running", Conflict),
            (
                500,
                "Could not kill running container 1, cannot remove - tried to kill it, and it did not",
                Refused,
            ),
            (400, "no command specified", Refused),
        ] {
            let error = EngineError::DockerResponseServerError { status_code, message: message.to_owned() };
            assert_eq!(explained("cannot", error).kind(), kind, "{message}");
        }
    }
}
