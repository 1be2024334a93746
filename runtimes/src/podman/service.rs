//! The description of a libpod service, and whether it can isolate untrusted code.

use std::fmt;

use serde::Deserialize;

use super::client::{Client, Request};
use crate::RuntimeError;
use crate::engine::deadline;

/// The description of a service, from itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Info")]
pub struct Service {
    /// Podman's version.
    pub version: String,
    /// Whether it runs without root.
    pub rootless: bool,
    /// Whether limits are kept by cgroups of version 1.
    pub cgroup_v1: bool,
    /// The cgroup controllers that it may use.
    pub controllers: Vec<String>,
    /// The OCI runtime that it uses by default, such as `crun` or `runc`.
    pub oci_runtime: String,
    /// The first line of the OCI runtime's version text.
    pub oci_version: String,
}

/// The cgroup controllers that a container's limits need.
const NEEDED_CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

impl Service {
    /// Why the service cannot run containers; `is_root` tells whether the platform runs as root.
    pub fn obstacle(&self, is_root: bool) -> Option<Obstacle> {
        let missing: Vec<&str> = NEEDED_CONTROLLERS
            .into_iter()
            .filter(|name| !self.controllers.iter().any(|it| it == name))
            .collect();
        let (what, remedy) = match (self.rootless, self.cgroup_v1, is_root) {
            (true, true, _) => (
                "rootless Podman limits nothing with cgroups of version 1".to_owned(),
                "run Podman's service as root, or boot with systemd.unified_cgroup_hierarchy=1",
            ),
            (true, false, true) => (
                "Podman is rootless and the platform is run by root: containers could not write to workspaces"
                    .to_owned(),
                "run both as the same user, or both as root (podman.host)",
            ),
            (_, _, _) if missing.is_empty() => return None,
            (true, false, false) => (
                format!("Podman cannot limit {}", missing.join(", ")),
                "put Delegate=cpu memory pids into /etc/systemd/system/user@.service.d/delegate.conf",
            ),
            (false, _, _) => {
                (format!("Podman cannot limit {}", missing.join(", ")), "enable these cgroup controllers in the kernel")
            }
        };
        Some(Obstacle { what, remedy })
    }
}

/// Why a service cannot isolate untrusted code, and what the operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// The description of the service of `client`.
pub(super) async fn describe(client: &Client) -> Result<Service, RuntimeError> {
    let what = "cannot ask Podman about itself";
    client.send(deadline::INFO, what, Request::get("/info")).await?.json(what)
}

#[derive(Deserialize)]
struct Info {
    host: Host,
    version: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Host {
    cgroup_version: String,
    #[serde(default)]
    cgroup_controllers: Vec<String>,
    oci_runtime: OciRuntime,
    security: Security,
}

#[derive(Deserialize)]
struct OciRuntime {
    name: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Security {
    rootless: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
}

impl From<Info> for Service {
    fn from(info: Info) -> Self {
        Self {
            version: info.version.version,
            rootless: info.host.security.rootless,
            cgroup_v1: info.host.cgroup_version == "v1",
            controllers: info.host.cgroup_controllers,
            oci_runtime: info.host.oci_runtime.name,
            oci_version: info.host.oci_runtime.version.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(rootless: bool, cgroup_v1: bool, controllers: &[&str]) -> Service {
        Service {
            version: "4.3.1".to_owned(),
            rootless,
            cgroup_v1,
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            oci_runtime: "runc".to_owned(),
            oci_version: "runc version 1.1.5".to_owned(),
        }
    }

    #[test]
    fn a_service_that_cannot_isolate_is_refused_with_a_remedy() {
        let all = ["cpuset", "cpu", "memory", "pids"];
        let advice = |service: Service, is_root| {
            service.obstacle(is_root).map_or("none".to_owned(), |it| it.to_string())
        };
        assert_eq!(advice(service(false, true, &all), true), "none", "rootful, version 1");
        assert_eq!(advice(service(false, false, &all), true), "none", "rootful, version 2");
        assert_eq!(advice(service(true, false, &all), false), "none", "rootless, version 2, delegated");
        insta::assert_snapshot!(advice(service(true, true, &[]), false), @"rootless Podman limits nothing with cgroups of version 1; run Podman's service as root, or boot with systemd.unified_cgroup_hierarchy=1");
        insta::assert_snapshot!(advice(service(true, false, &all), true), @"Podman is rootless and the platform is run by root: containers could not write to workspaces; run both as the same user, or both as root (podman.host)");
        insta::assert_snapshot!(advice(service(true, false, &["memory", "pids"]), false), @"Podman cannot limit cpu; put Delegate=cpu memory pids into /etc/systemd/system/user@.service.d/delegate.conf");
        insta::assert_snapshot!(advice(service(false, false, &["cpu"]), true), @"Podman cannot limit memory, pids; enable these cgroup controllers in the kernel");
    }

    #[test]
    fn a_service_is_read_from_what_podman_4_3_says() {
        let said = r#"{"host":{"cgroupVersion":"v1","cgroupControllers":["cpu","memory","pids"],"ociRuntime":
            {"name":"runc","version":"runc version 1.1.5\ncommit: 1"},"security":{"rootless":false}},
            "version":{"Version":"4.3.1"}}"#;
        let read: Service = serde_json::from_str(said).unwrap();
        assert_eq!(read, service(false, true, &["cpu", "memory", "pids"]));
    }
}
