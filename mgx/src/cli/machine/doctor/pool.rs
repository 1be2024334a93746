//! The warm pool: whether workspaces can be mounted into containers that wait, and how many wait.

use mgx_client::pools::{Pool, WorkspaceDelivery};

use super::Finding;
use crate::cli::server::own_client;
use crate::config::Config;

/// Looks at the pools of the server, or at this machine if no server answers. Nothing, if the runtime has no pool.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    if !config.runtime.is_pool() {
        return Vec::new();
    }
    let answer = match &own_client(config) {
        Ok(client) => client.pools().await.ok(),
        Err(_) => None,
    };
    match answer {
        Some(list) => list.pools.iter().map(serving).collect(),
        None => vec![able()],
    }
}

/// The state of one pool of a server.
fn serving(pool: &Pool) -> Finding {
    let Pool { image, parked, target, .. } = pool;
    if pool.broken {
        return Finding::warn(
            "pool",
            format!("{image}: making containers fails, so jobs start cold"),
            "the server's log says why",
        );
    }
    match pool.workspaces.known() {
        Some(WorkspaceDelivery::Cold) => Finding::warn(
            "pool",
            format!("{image}: workspaces are not seen in containers that wait, so jobs start cold"),
            "run the platform as root in the mount namespace of the engine, beside it and not in a container",
        ),
        Some(WorkspaceDelivery::Propagated) => Finding::ok(
            "pool",
            format!("{image}: {parked} of {target} wait; workspaces are mounted into them (propagation)"),
        ),
        Some(WorkspaceDelivery::Unknown) | None => {
            Finding::ok("pool", format!("{image}: {parked} of {target} wait"))
        }
    }
}

/// Whether this machine can mount workspaces into containers that wait.
fn able() -> Finding {
    match mgx_runtimes::pool::can_mount() {
        Ok(()) => Finding::ok("pool", "workspaces can be mounted into containers that wait (propagation)"),
        Err(error) => Finding::warn(
            "pool",
            format!("workspaces cannot be mounted into containers that wait ({error}), so jobs start cold"),
            "run the platform as root (CAP_SYS_ADMIN), or use the runtime without \"pool:\"",
        ),
    }
}
