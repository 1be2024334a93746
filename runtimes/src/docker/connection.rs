//! The connection to an engine of the Docker API: made with the first call; every call has a deadline.

use std::fmt;
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::SystemInfoCgroupVersionEnum;
use tokio::sync::OnceCell;

use super::user_mapping::UserMapping;
use crate::engine::connect_fault::{ConnectFault, EngineName};
use crate::engine::deadline;
use crate::{RuntimeError, RuntimeErrorKind};

/// An engine that speaks the Docker API, reachable or not.
pub struct DockerConnection {
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
    pub(crate) users: UserMapping,
}

impl DockerConnection {
    /// The engine at `host`: `unix:///var/run/docker.sock`, or the path alone.
    pub fn new(host: impl Into<String>) -> Self {
        let host = host.into();
        let host = if host.contains("://") { host } else { format!("unix://{host}") };
        Self { host, connected: OnceCell::new() }
    }

    /// Its address.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// How the engine maps the users of containers.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn users(&self) -> Result<UserMapping, RuntimeError> {
        self.connected().await.map(|connected| connected.users)
    }

    /// The client, which speaks the highest version of the API that both sides support.
    pub(crate) async fn connected(&self) -> Result<&Connected, RuntimeError> {
        self.connected.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Connected, RuntimeError> {
        let unreachable = "cannot reach the container engine";
        let client = bollard::Docker::connect_with_host(&self.host).map_err(|error| {
            let fault = ConnectFault::of(EngineName::Docker, &self.host, &error);
            RuntimeError::new(RuntimeErrorKind::Unavailable, unreachable).because(fault)
        })?;
        let pinged = within_at(Some(&self.host), deadline::PING, unreachable, client.ping());
        pinged.await?;
        let negotiated = within_at(Some(&self.host), deadline::INFO, unreachable, client.negotiate_version());
        let client = negotiated.await?;
        let info = within(deadline::INFO, "ask the engine about itself", client.info()).await?;
        let cgroup_v1 = info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1);
        let users = UserMapping::of(&info);
        // only Podman has this log driver
        let is_podman = info
            .plugins
            .and_then(|plugins| plugins.log)
            .is_some_and(|drivers| drivers.iter().any(|driver| driver == "k8s-file"));
        let version = info.server_version.unwrap_or_default();
        Ok(Connected { client, cgroup_v1, is_podman, version, users })
    }
}

impl fmt::Debug for DockerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConnection").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The answer of `call` within `limit`. `what` tells in an error what was tried.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, RuntimeError> {
    within_at(None, limit, what, call).await
}

/// The same for a call to the engine at an address that an error shall name.
async fn within_at<T>(
    address: Option<&str>,
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, RuntimeError> {
    let answer = tokio::time::timeout(limit, call).await.map_err(|_| {
        let at = address.map(|address| format!(" at {address}")).unwrap_or_default();
        let message = format!("{what}: no answer from the engine{at} within {} s", limit.as_secs());
        RuntimeError::new(RuntimeErrorKind::Deadline, message)
    })?;
    answer.map_err(|error| runtime_error(address, what, error))
}

/// The HTTP status of the engine's refusal; `None` for every other error.
pub(crate) fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn runtime_error(address: Option<&str>, what: &str, error: EngineError) -> RuntimeError {
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
        // Docker: it ended by itself just before it was killed
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
        // the engine has answered, with a refusal or not as its API does
        _ => RuntimeErrorKind::Refused,
    };
    match (kind, address) {
        // the library's own words hide what the operating system said
        (RuntimeErrorKind::Unavailable, address) => {
            let address = address.unwrap_or("the engine");
            RuntimeError::new(kind, what).because(ConnectFault::of(EngineName::Docker, address, &error))
        }
        (_, Some(address)) => {
            let fault = ConnectFault::of(EngineName::Docker, address, &error);
            RuntimeError::new(kind, what).because(fault)
        }
        (_, None) => RuntimeError::new(kind, what).because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_error_follows_from_status_and_message() {
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
            assert_eq!(runtime_error(None, "cannot", error).kind(), kind, "{message}");
        }
    }
}
