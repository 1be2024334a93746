//! OCI runtimes: which ones the engine knows, and whether the one that `[isolation]` names is among them.

use std::collections::BTreeSet;

use mgx_runtimes::OciRuntime;

use super::Finding;
use crate::config::Config;

/// The OCI runtimes that an engine knows.
#[derive(Debug)]
pub(super) struct EngineRuntimes {
    /// The name of each.
    pub(super) names: BTreeSet<String>,
    /// The name of the default.
    pub(super) default: String,
}

/// The OCI runtime of jobs, with the key that names it.
pub(super) fn wanted(config: &Config) -> (&'static str, OciRuntime) {
    ("isolation.agent", config.isolation.agent)
}

/// Compares the OCI runtimes of Docker with the one that the configuration names.
pub(super) fn look(runtimes: &EngineRuntimes, config: &Config) -> Vec<Finding> {
    // names with this prefix are shims of containerd, not OCI runtimes
    let names: Vec<_> = runtimes.names.iter().filter(|name| !name.starts_with("io.containerd.")).collect();
    let list = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let mut findings =
        vec![Finding::ok("oci", format!("{list}; the engine's default is {}", runtimes.default))];
    let (key, runtime) = wanted(config);
    if let Some(name) = runtime.name().filter(|name| !runtimes.names.contains(*name)) {
        let what = format!("{key} is {name:?}, and the engine does not know it: jobs do not start");
        findings.push(Finding::fail("oci", what, remedy(runtime)));
    }
    if config.runtime.is_pool() && config.isolation.agent == OciRuntime::Runsc {
        findings.push(Finding::warn(
            "oci",
            "containers of gVisor cannot wait in a pool: every job starts with a new container",
            "no change is needed if isolation is worth more than a quick start",
        ));
    }
    findings
}

/// How an OCI runtime is added to Docker. The arguments of gVisor: it may use the runner's socket on the host, it has no
/// network, and it applies the seccomp profile inside, too.
fn remedy(runtime: OciRuntime) -> &'static str {
    match runtime {
        OciRuntime::Engines | OciRuntime::Runc => {
            "install it (`apt-get install runc`); Docker knows it by this name"
        }
        OciRuntime::Crun => {
            "install it (`apt-get install crun`), put \"runtimes\": {\"crun\": {\"path\": \"/usr/bin/crun\"}} into \
             /etc/docker/daemon.json and reload the engine (`systemctl reload docker`)"
        }
        OciRuntime::Runsc => {
            "install it (`apt-get install runsc`), put \"runtimes\": {\"runsc\": {\"path\": \"/usr/bin/runsc\", \
             \"runtimeArgs\": [\"--network=none\", \"--host-uds=all\", \"--oci-seccomp\"]}} into \
             /etc/docker/daemon.json (--fsgofer-host-uds in old versions) and reload the engine (`systemctl reload docker`)"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::config::{Inputs, load};

    #[test]
    fn a_runtime_that_the_engine_lacks_is_reported_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["io.containerd.runc.v2", "runc"].map(str::to_owned);
        let runtimes = EngineRuntimes { names: names.into(), default: "runc".to_owned() };
        let mut text = String::new();
        for wanted in ["runsc", "crun", "runc"] {
            let toml = format!("runtime = \"pool:docker\"\n[isolation]\nagent = \"{wanted}\"\n");
            std::fs::write(dir.path().join("mgx.toml"), toml).unwrap();
            let config = load(&Inputs { dir: dir.path().to_owned(), ..Inputs::default() }).unwrap().config;
            for Finding { verdict, check, what, remedy } in look(&runtimes, &config) {
                writeln!(text, "{verdict:?} {check}: {what}").unwrap();
                if let Some(remedy) = remedy {
                    writeln!(text, "  remedy: {remedy}").unwrap();
                }
            }
        }
        insta::assert_snapshot!(text);
    }
}
