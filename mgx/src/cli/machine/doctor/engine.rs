//! The Docker engine: whether it answers, its version, and known problems of that version.

use std::time::Duration;

use bollard::Docker;
use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum, SystemVersion};
use mgx_runtimes::{ConnectFault, EngineName, UserMapping};
use tokio::time::timeout;

use super::{Finding, image, oci, users};
use crate::config::Config;
use crate::engine::docker_host;
use crate::image::{AgentImage, runner as runner_of};

/// How long the engine may take for one answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest runner that is built with the profile `small`, in bytes.
const RUNNER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Looks at the engine that the configuration names.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let host = docker_host(config);
    let mut findings = vec![runner(config)];
    let (docker, version, info) = match ask(&host).await {
        Ok(answers) => answers,
        Err((why, remedy)) => {
            findings.push(Finding::fail("engine", format!("{host} does not answer: {why}"), remedy));
            return findings;
        }
    };
    let is_podman = version.components.iter().flatten().any(|component| component.name == "Podman Engine");
    let (name, api) = (version.version.unwrap_or_default(), version.api_version.unwrap_or_default());
    findings.push(if is_podman {
        let what = format!(
            "{host} is Podman {name}, through its Docker API {api}; runtime = \"podman\" uses its own"
        );
        Finding::ok("engine", what)
    } else {
        Finding::ok("engine", format!("{host} version {name}, API {api}"))
    });
    findings.push(runc(&runc_version(&docker).await));
    findings.extend(oci::look(&oci_runtimes(&info), config));
    findings.push(cgroups(&info));
    if is_podman {
        findings.push(Finding::ok("restarts", "containers outlive a restart of Podman's service"));
    } else if info.live_restore_enabled == Some(true) {
        findings.push(Finding::ok("restarts", "containers outlive a restart of the engine (live-restore)"));
    } else {
        findings.push(Finding::warn(
            "restarts",
            "containers end when the engine restarts",
            "put \"live-restore\": true into /etc/docker/daemon.json and reload the engine",
        ));
    }
    findings.push(users::look(UserMapping::of(&info), config).await);
    findings.push(image::look(config).await);
    findings
}

/// What the engine at `host` says about itself; or why it does not, and what would help.
pub(super) async fn ask(host: &str) -> Result<(Docker, SystemVersion, SystemInfo), (String, String)> {
    let late =
        |_| ("no answer in time".to_owned(), "look at the engine's log, and start it again".to_owned());
    let failed = |error: bollard::errors::Error| {
        let fault = ConnectFault::of(EngineName::Docker, host, &error);
        (fault.to_string(), fault.remedy())
    };
    let docker = Docker::connect_with_host(host).map_err(failed)?;
    let docker = timeout(ANSWER_TIMEOUT, docker.negotiate_version()).await.map_err(late)?.map_err(failed)?;
    let version = timeout(ANSWER_TIMEOUT, docker.version()).await.map_err(late)?.map_err(failed)?;
    let info = timeout(ANSWER_TIMEOUT, docker.info()).await.map_err(late)?.map_err(failed)?;
    Ok((docker, version, info))
}

/// The OCI runtimes that the engine knows.
fn oci_runtimes(info: &SystemInfo) -> oci::EngineRuntimes {
    let names = info.runtimes.iter().flatten().map(|(name, _)| name.clone()).collect();
    oci::EngineRuntimes { names, default: info.default_runtime.clone().unwrap_or_default() }
}

async fn runc_version(docker: &Docker) -> String {
    let version = timeout(ANSWER_TIMEOUT, docker.version()).await.ok().and_then(Result::ok);
    let components = version.and_then(|version| version.components).unwrap_or_default();
    let runc = components.into_iter().find(|component| component.name == "runc");
    runc.map(|component| component.version).unwrap_or_default()
}

/// Known breakouts of a version of runc: through a leaked file descriptor (CVE-2024-21626, before 1.1.12), and through
/// masked paths (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, before 1.2.8, 1.3.3 and
/// 1.4.0-rc.3).
pub(super) fn runc(version: &str) -> Finding {
    let remedy = "upgrade runc (containerd.io or runc of your distribution); distributions may have patched an \
                  older number: see its changelog";
    let numbers: Vec<u32> =
        version.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok()).take(3).collect();
    match numbers.as_slice() {
        [major, minor, patch] => {
            let (major, minor, patch) = (*major, *minor, *patch);
            let leaks = (major, minor, patch) < (1, 1, 12);
            let candidate = version.split_once("rc").map(|(_, rc)| rc.trim_start_matches(['.', '-']));
            let is_early = candidate.is_some_and(|rc| rc.starts_with(['1', '2']));
            let masks = (major, minor, patch) < (1, 2, 8)
                || ((major, minor) == (1, 3) && patch < 3)
                || ((major, minor, patch) == (1, 4, 0) && is_early);
            match (leaks, masks) {
                (true, _) => Finding::warn(
                    "runc",
                    format!("{version} has CVE-2024-21626 and the vulnerabilities of November 2025"),
                    remedy,
                ),
                (false, true) => Finding::warn(
                    "runc",
                    format!("{version} has the vulnerabilities of November 2025"),
                    remedy,
                ),
                (false, false) => Finding::ok("runc", version),
            }
        }
        _ => Finding::warn(
            "runc",
            "the version is not known",
            "look at `runc --version`; 1.2.8, 1.3.3 or later is safe",
        ),
    }
}

pub(super) fn cgroups_of_version_1() -> Finding {
    Finding::warn(
        "cgroups",
        "version 1: limits work, but the kernel no longer develops it",
        "boot with systemd.unified_cgroup_hierarchy=1",
    )
}

fn cgroups(info: &SystemInfo) -> Finding {
    let limits = [info.memory_limit, info.cpu_cfs_quota, info.pids_limit];
    if limits.contains(&Some(false)) {
        let remedy = "enable the memory, cpu and pids controllers (on the kernel's command line: \
                      cgroup_enable=memory swapaccount=1)";
        return Finding::fail("cgroups", "the engine cannot limit memory, CPU or processes", remedy);
    }
    match info.cgroup_version {
        Some(SystemInfoCgroupVersionEnum::_1) => cgroups_of_version_1(),
        Some(_) => Finding::ok("cgroups", "version 2"),
        None => Finding::warn("cgroups", "the engine does not say which version", "look at `docker info`"),
    }
}

/// The runner: the first process in every container.
pub(super) fn runner(config: &Config) -> Finding {
    let Some(path) = runner_of(config) else {
        if AgentImage::of(config).is_configured() {
            return Finding::ok("runner", "none beside this program; the image of agent.image has its own");
        }
        return Finding::fail(
            "runner",
            "no static runner beside this program",
            "run `just build`, or set agent.runner",
        );
    };
    match path.metadata() {
        Ok(found) if found.len() > RUNNER_BYTES_MAX => {
            let size = found.len() / 1024;
            Finding::warn(
                "runner",
                format!("{} has {size} KiB", path.display()),
                "build it with `just build`",
            )
        }
        Ok(found) => Finding::ok("runner", format!("{} ({} KiB)", path.display(), found.len() / 1024)),
        Err(error) => Finding::fail(
            "runner",
            format!("{}: {error}", path.display()),
            "run `just build`, or set agent.runner",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn known_vulnerabilities_of_runc_are_named() {
        for (version, verdict, expected) in [
            ("1.1.5+ds1", Verdict::Warn, "CVE-2024-21626"),
            ("1.1.12", Verdict::Warn, "2025"),
            ("1.2.7", Verdict::Warn, "2025"),
            ("1.2.8", Verdict::Ok, "1.2.8"),
            ("1.3.2", Verdict::Warn, "2025"),
            ("1.3.3", Verdict::Ok, "1.3.3"),
            ("1.4.0-rc.2", Verdict::Warn, "2025"),
            ("1.4.0-rc.3", Verdict::Ok, "1.4.0-rc.3"),
            ("1.4.0", Verdict::Ok, "1.4.0"),
            ("", Verdict::Warn, "not known"),
        ] {
            let finding = runc(version);
            assert_eq!(finding.verdict, verdict, "{version}: {finding:?}");
            assert!(finding.what.contains(expected), "{version}: {finding:?}");
        }
    }
}
