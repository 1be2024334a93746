//! The users of the processes in containers, and of the files that those share with the platform.

use std::time::Duration;

use mgx_runtimes::DockerConnection;
use tracing::{debug, info};

use super::docker_host;
use crate::config::{Config, RuntimeName, Workspaces};

/// User id and group id of the processes in containers, if the platform runs as root; otherwise they have the platform's.
const CONTAINER_ID: u32 = 10_001;

/// How long the engine may take to say how it maps users.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// User id and group id of the processes in containers, as they see them.
pub(crate) fn container_user() -> (u32, u32) {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        (CONTAINER_ID, CONTAINER_ID)
    } else {
        (uid.as_raw(), rustix::process::getegid().as_raw())
    }
}

/// User id and group id of the files of workspaces on the host: what `workspaces.owner` says, or what the users of
/// containers are on the host. An engine that is away is taken for one that maps no users; once it answers, it refuses
/// jobs that could not write to their workspaces.
pub(crate) async fn workspace_owner(config: &Config) -> (u32, u32) {
    let inside = container_user();
    if !rustix::process::geteuid().is_root() {
        // only root can give files to another user
        return inside;
    }
    if let Some(owner) = Workspaces::ids(&config.workspaces.owner) {
        return owner;
    }
    match config.runtime {
        RuntimeName::Docker | RuntimeName::PoolDocker => {}
        RuntimeName::Podman | RuntimeName::PoolPodman | RuntimeName::Process | RuntimeName::Null => {
            return inside;
        }
    }
    let connection = DockerConnection::new(docker_host(config));
    match tokio::time::timeout(ANSWER_TIMEOUT, connection.users()).await {
        Ok(Ok(users)) => {
            let owner = users.on_host(inside).unwrap_or(inside);
            if owner != inside {
                info!(
                    uid = owner.0,
                    gid = owner.1,
                    "the engine maps users: workspaces belong to these on the host"
                );
            }
            owner
        }
        Ok(Err(error)) => {
            debug!(%error, "the engine does not say how it maps users");
            inside
        }
        Err(_) => inside,
    }
}
