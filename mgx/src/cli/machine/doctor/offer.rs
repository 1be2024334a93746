//! Other engines than the configured one that answer on this machine, for a remedy.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mgx_runtimes::podman;
use tokio::time::timeout;

use super::engine::{ANSWER_TIMEOUT, ask};
use crate::engine::DOCKER_SOCKET;

/// What to set so that an engine is used that answers, if there is one. `failed` is the address that does not.
pub(super) async fn offer(failed: &str) -> Option<String> {
    for socket in podman_sockets() {
        let host = format!("unix://{}", socket.display());
        if is_socket(&socket)
            && host != failed
            && timeout(ANSWER_TIMEOUT, podman::describe(&host)).await.is_ok_and(|it| it.is_ok())
        {
            return Some(format!(
                "or use Podman, which answers at {host}: set runtime = \"podman\" and podman.host = {host:?}"
            ));
        }
    }
    for socket in docker_sockets() {
        let host = format!("unix://{}", socket.display());
        if is_socket(&socket) && host != failed && ask(&host).await.is_ok() {
            return Some(format!(
                "or use Docker, which answers at {host}: set runtime = \"docker\" and docker.host = {host:?}"
            ));
        }
    }
    None
}

/// Where Podman's services of root and of this user listen.
fn podman_sockets() -> Vec<PathBuf> {
    let mut sockets = vec![PathBuf::from("/run/podman/podman.sock")];
    sockets.extend(below("XDG_RUNTIME_DIR", "podman/podman.sock"));
    sockets
}

/// Where Docker listens: the one of the system, of a user, and of Docker Desktop.
fn docker_sockets() -> Vec<PathBuf> {
    let mut sockets = vec![PathBuf::from(DOCKER_SOCKET.trim_start_matches("unix://"))];
    sockets.extend(below("XDG_RUNTIME_DIR", "docker.sock"));
    sockets.extend(below("HOME", ".docker/run/docker.sock"));
    sockets
}

fn below(variable: &str, path: &str) -> Option<PathBuf> {
    let dir = std::env::var_os(variable).filter(|dir| !dir.is_empty())?;
    Some(PathBuf::from(dir).join(path))
}

fn is_socket(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.file_type().is_socket())
}
