//! `~` in paths of the configuration: the home directory of the user who runs the program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Config;
use super::problem::What;

/// The home directory, if the environment names one.
pub(super) fn of(env: &[(OsString, OsString)]) -> Option<PathBuf> {
    let home = env.iter().find(|(name, _)| name == "HOME").map(|(_, value)| PathBuf::from(value));
    home.filter(|home| home.is_absolute())
}

/// Replaces a `~` at the start of every path. Returns what cannot be replaced, by its key.
pub(super) fn expand(config: &mut Config, home: Option<&Path>) -> Vec<(String, What)> {
    let mut problems = Vec::new();
    let mut path = |key: &str, path: &mut PathBuf| match expanded(path, home) {
        Ok(whole) => *path = whole,
        Err(what) => problems.push((key.to_owned(), what)),
    };
    path("server.data_dir", &mut config.server.data_dir);
    path("store.path", &mut config.store.path);
    path("workspaces.root", &mut config.workspaces.root);
    path("workspaces.host_root", &mut config.workspaces.host_root);
    path("agent.runner", &mut config.agent.runner);
    path("llm.api_key_file", &mut config.llm.api_key_file);
    path("llm.ca_file", &mut config.llm.ca_file);
    for (name, provider) in &mut config.llm.providers {
        path(&format!("llm.providers.{name}.api_key_file"), &mut provider.api_key_file);
        path(&format!("llm.providers.{name}.ca_file"), &mut provider.ca_file);
    }
    for (key, host) in [("docker.host", &mut config.docker.host), ("podman.host", &mut config.podman.host)] {
        let Some(mut socket) = host.strip_prefix("unix://").map(PathBuf::from) else { continue };
        path(key, &mut socket);
        *host = format!("unix://{}", socket.display());
    }
    problems
}

/// The path with the home directory in the place of a `~`.
pub(super) fn expanded(path: &Path, home: Option<&Path>) -> Result<PathBuf, What> {
    let Some(first) = path.components().next().map(|first| first.as_os_str().to_string_lossy().into_owned())
    else {
        return Ok(path.to_owned());
    };
    match (first.as_str(), home) {
        ("~", Some(home)) => Ok(home.join(path.strip_prefix("~").unwrap_or(path))),
        ("~", None) => Err(What::Rule(format!("{}: ~ stands for HOME, which is not set", path.display()))),
        (first, _) if first.starts_with('~') => Err(What::Rule(format!(
            "{}: {first} is not understood; write the whole path (or ./{first} for a file of that name)",
            path.display()
        ))),
        _ => Ok(path.to_owned()),
    }
}
