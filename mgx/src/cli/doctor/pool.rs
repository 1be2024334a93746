//! The warm pool: whether workspaces can be mounted into containers that wait, and whether it is full.

use serde_json::Value;

use super::super::client::Client;
use super::Finding;
use crate::config::Config;
use crate::data_dir;

/// Looks at it, if there is to be one.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    if !config.runtime.is_pool() {
        return Vec::new();
    }
    let token = data_dir::admin_token(&config.server.data_dir);
    let client = token.ok().and_then(|token| Client::new(&config.local_url(), token).ok());
    let answer = match &client {
        Some(client) => client.pools().await.ok(),
        None => None,
    };
    match answer.as_ref().and_then(|answer| answer["pools"].as_array()) {
        Some(pools) => pools.iter().map(serving).collect(),
        None => vec![able()],
    }
}

/// What a server says of one of its pools.
fn serving(pool: &Value) -> Finding {
    let (image, parked, target) =
        (pool["image"].as_str().unwrap_or_default(), &pool["parked"], &pool["target"]);
    if pool["broken"] == true {
        return Finding::warn(
            "pool",
            format!("{image}: making containers fails, so jobs start cold"),
            "the server's log says why",
        );
    }
    match pool["workspaces"].as_str() {
        Some("cold") => Finding::warn(
            "pool",
            format!("{image}: workspaces are not seen in containers that wait, so jobs start cold"),
            "run the platform as root in the mount namespace of the engine, beside it and not in a container",
        ),
        Some("propagated") => Finding::ok(
            "pool",
            format!("{image}: {parked} of {target} wait; workspaces are mounted into them (propagation)"),
        ),
        Some(_) | None => Finding::ok("pool", format!("{image}: {parked} of {target} wait")),
    }
}

/// What can be said without a server.
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
