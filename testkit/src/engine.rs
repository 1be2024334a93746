//! The container engine as its own command line shows it, so that the platform's code is not checked by itself.

mod dockerd;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use dockerd::Dockerd;

/// The engine that the tests use, by `MGX_TEST_ENGINE`: `docker` (the default) or `podman`, whose command lines are alike,
/// or either with a warm pool in front, `pool:docker` or `pool:podman`.
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Its name, which is also its program's.
    pub fn name() -> String {
        let runtime = Self::runtime();
        runtime.strip_prefix("pool:").unwrap_or(&runtime).to_owned()
    }

    /// The value of `runtime` in the configuration of servers.
    pub fn runtime() -> String {
        std::env::var("MGX_TEST_ENGINE").unwrap_or_else(|_| "docker".to_owned())
    }

    /// Whether a warm pool is in front of it.
    pub fn has_pool() -> bool {
        Self::runtime().starts_with("pool:")
    }

    /// Runs a command of the engine's command line; its standard output.
    ///
    /// # Errors
    /// The command cannot be run, or fails.
    pub fn docker(args: &[&str]) -> Result<String> {
        Self::docker_at(None, args)
    }

    /// The same on the Docker engine at `host`, or on the tests' own engine.
    ///
    /// # Errors
    /// The command cannot be run, or fails.
    pub fn docker_at(host: Option<&str>, args: &[&str]) -> Result<String> {
        let output = command(host).args(args).output().context("cannot run docker")?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "docker {args:?}: {error}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The names of a session's containers, running or not.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn containers_of(session: &str) -> Result<Vec<String>> {
        let label = format!("label=mgx.session={session}");
        let names = Self::docker(&["ps", "-a", "--filter", &label, "--format", "{{.Names}}"])?;
        Ok(names.lines().map(ToOwned::to_owned).collect())
    }

    /// What `inspect` prints of a container.
    ///
    /// # Errors
    /// There is no container of this name.
    pub fn inspect(name: &str) -> Result<Value> {
        let all: Value = serde_json::from_str(&Self::docker(&["inspect", name])?)?;
        all.get(0).cloned().context("an empty answer")
    }

    /// The processes of a container, by their pids on the host.
    ///
    /// # Errors
    /// The container does not run.
    pub fn processes(name: &str) -> Result<Vec<u32>> {
        let columns: &[&str] = if Self::name() == "podman" { &["hpid"] } else { &["-eo", "pid"] };
        let table = Self::docker(&[&["top", name], columns].concat())?;
        Ok(table.lines().skip(1).filter_map(|line| line.trim().parse().ok()).collect())
    }

    /// The names of the platform's containers that mount anything under `dir`, running or not.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn all_with_mounts_under(dir: &Path) -> Result<Vec<String>> {
        Self::labelled("label=mgx.instance", dir)
    }

    /// The same for the containers that hold network namespaces.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn holders_with_mounts_under(dir: &Path) -> Result<Vec<String>> {
        Self::labelled("label=mgx.holder", dir)
    }

    fn labelled(label: &str, dir: &Path) -> Result<Vec<String>> {
        let format = "{{.Names}} {{.Mounts}}";
        let filter = ["ps", "-a", "--no-trunc", "--filter", label, "--format", format];
        let all = Self::docker(&filter)?;
        let dir = dir.to_string_lossy();
        let named = all.lines().map(|line| (line, line.split(' ').next().unwrap_or_default()));
        // Podman lists the mount points, not their sources
        let ours = named.filter(|(line, name)| {
            line.contains(&*dir)
                || Self::name() == "podman"
                    && Self::inspect(name).is_ok_and(|seen| seen["Mounts"].to_string().contains(&*dir))
        });
        Ok(ours.map(|(_, name)| name.to_owned()).collect())
    }

    /// Removes every container that mounts anything under `dir`.
    pub fn remove_all_with_mounts_under(dir: &Path) {
        let all = Self::all_with_mounts_under(dir).unwrap_or_default();
        for name in all.into_iter().chain(Self::holders_with_mounts_under(dir).unwrap_or_default()) {
            drop(Self::docker(&["rm", "-f", &name]));
        }
    }
}

fn command(host: Option<&str>) -> Command {
    let Some(host) = host else { return Command::new(Engine::name()) };
    let mut command = Command::new("docker");
    command.env("DOCKER_HOST", host);
    command
}
