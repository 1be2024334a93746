//! The users of containers: whether jobs can write to their workspaces.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mgx_runtimes::{UserMapping, UserObstacle};

use super::Finding;
use crate::config::Config;
use crate::engine::users::{container_user, workspace_owner};

/// How many workspaces are looked at.
const WORKSPACES_MAX: usize = 10_000;

/// Compares how the engine maps users with who owns workspaces.
pub(super) async fn look(mapping: UserMapping, config: &Config) -> Finding {
    let (inside, owner) = (container_user(), workspace_owner(config).await);
    if let Some(UserObstacle { what, remedy }) =
        mapping.obstacle(inside, owner, rustix::process::geteuid().is_root())
    {
        return Finding::fail("users", what, remedy);
    }
    let (uid, gid) = owner;
    let others = of_others(&config.workspaces.root, owner);
    if let Some(first) = others.first() {
        return Finding::warn(
            "users",
            format!(
                "{} workspaces belong to another user than {uid}, such as {first}: jobs cannot write to them",
                others.len()
            ),
            format!("chown -R {uid}:{gid} {}/*", config.workspaces.root.display()),
        );
    }
    match mapping {
        UserMapping::Same => Finding::ok("users", format!("jobs run as user {} of the host", inside.0)),
        UserMapping::Shifted { .. } | UserMapping::Unknown | UserMapping::Rootless => Finding::ok(
            "users",
            format!(
                "the engine maps user {} of jobs to {uid} of the host, who owns the workspaces",
                inside.0
            ),
        ),
    }
}

/// The names of the workspaces that belong to another user.
fn of_others(root: &Path, (uid, gid): (u32, u32)) -> Vec<String> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten().take(WORKSPACES_MAX);
    entries
        .filter(|entry| {
            let found = entry.metadata();
            found.is_ok_and(|found| found.is_dir() && (found.uid(), found.gid()) != (uid, gid))
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
}
