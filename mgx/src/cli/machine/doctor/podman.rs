//! Podman: whether its service answers, its OCI runtime, and whether it can limit containers.

use mgx_runtimes::UserMapping;
use mgx_runtimes::podman::{self, Service};

use super::{Finding, engine, image, oci, users};
use crate::config::Config;
use crate::engine::podman_host;

/// Looks at the service that the configuration names.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let host = podman_host(config);
    let mut findings = vec![engine::runner(config)];
    let service = match podman::describe(&host).await {
        Ok(service) => service,
        Err(error) => {
            let remedy =
                error.remedy().unwrap_or_else(|| "look at the service's log, or set podman.host".to_owned());
            findings.push(Finding::fail("engine", format!("{host} does not answer: {error}"), remedy));
            return findings;
        }
    };
    let mut wanted = vec![("podman.oci_runtime", config.podman.oci_runtime.as_str())];
    let (key, runtime) = oci::wanted(config);
    wanted.push((key, runtime.name().unwrap_or_default()));
    findings.extend(of(&service, &wanted, rustix::process::geteuid().is_root()));
    findings.push(Finding::ok("engine", format!("{host} version {}", service.version)));
    // a mapping that Podman is told of by its own file is refused when a container is made
    findings.push(users::look(UserMapping::Same, config).await);
    findings.push(image::look(config).await);
    findings
}

/// The findings about a service. `wanted` has the OCI runtime that each key asks for (empty: any).
fn of(service: &Service, wanted: &[(&str, &str)], is_root: bool) -> Vec<Finding> {
    let mode = if service.rootless { "rootless" } else { "rootful" };
    let mut findings = vec![match service.obstacle(is_root) {
        Some(obstacle) => Finding::fail("podman", obstacle.what, obstacle.remedy),
        None => Finding::ok("podman", format!("{mode}, limits memory, CPU and processes")),
    }];
    let (runtime, version) = (service.oci_runtime.as_str(), service.oci_version.as_str());
    let others = wanted.iter().filter(|(_, wanted)| !wanted.is_empty() && *wanted != runtime);
    findings.extend(others.map(|(key, wanted)| {
        Finding::warn(
            "oci",
            format!("{key} is {wanted:?}, and the service's default is {runtime:?}"),
            format!(
                "put runtime = {wanted:?} under [engine] in /etc/containers/containers.conf and start the service \
                 again: Podman 4.3 and 5.4 ignore the request for another one, and then no job starts"
            ),
        )
    }));
    findings.push(match runtime {
        "runc" => engine::runc(version.trim_start_matches("runc version ")),
        _ => Finding::ok("oci", version),
    });
    findings.push(if service.cgroup_v1 {
        engine::cgroups_of_version_1()
    } else {
        Finding::ok("cgroups", "version 2")
    });
    findings.push(Finding::ok("restarts", "containers outlive a restart of Podman's service"));
    findings
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn service(version: &str, oci: &str, oci_version: &str) -> Service {
        Service {
            version: version.to_owned(),
            rootless: false,
            cgroup_v1: true,
            controllers: ["cpu", "memory", "pids"].map(str::to_owned).into(),
            oci_runtime: oci.to_owned(),
            oci_version: oci_version.to_owned(),
        }
    }

    #[test]
    fn a_finding_comes_with_its_remedy() {
        let rootless = Service { rootless: true, ..service("5.4.2", "crun", "crun version 1.21") };
        let mut text = String::new();
        for (title, findings) in [
            ("as it is on Debian 12", of(&service("4.3.1", "runc", "runc version 1.1.5+ds1"), &[], true)),
            (
                "crun where runc is wanted",
                of(&service("4.3.1", "crun", "crun version 1.8.1"), &[("podman.oci_runtime", "runc")], true),
            ),
            ("rootless with cgroups of version 1", of(&rootless, &[("isolation.agent", "runc")], false)),
        ] {
            text.push_str(title);
            for Finding { verdict, check, what, remedy } in findings {
                let remedy = remedy.map(|remedy| format!("\n    remedy: {remedy}")).unwrap_or_default();
                write!(text, "\n  {verdict:?} {check}: {what}{remedy}").unwrap();
            }
            text.push_str("\n\n");
        }
        insta::assert_snapshot!(text);
    }
}
