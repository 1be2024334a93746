//! OCI runtimes: which of them the engine knows, and whether those that `[isolation]` asks for are among them.

use std::collections::BTreeSet;

use mgx_runtimes::OciRuntime;

use super::Finding;
use crate::config::Config;

/// What an engine knows.
#[derive(Debug)]
pub(super) struct Known {
    /// Every name.
    pub(super) names: BTreeSet<String>,
    /// The one that it takes when nobody asks.
    pub(super) own: String,
}

/// What each kind of job is to be isolated by, with the key that says so.
pub(super) fn wanted(config: &Config) -> [(&'static str, OciRuntime); 3] {
    let isolation = &config.isolation;
    [
        ("isolation.agent", isolation.agent),
        ("isolation.dev", isolation.dev),
        ("isolation.build", isolation.build),
    ]
}

/// Compares what Docker knows with what is asked for.
pub(super) fn look(known: &Known, config: &Config) -> Vec<Finding> {
    // how containerd calls what it starts them with
    let names: Vec<_> = known.names.iter().filter(|name| !name.starts_with("io.containerd.")).collect();
    let list = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let mut findings = vec![Finding::ok("oci", format!("{list}; the engine's own is {}", known.own))];
    for (key, runtime) in wanted(config) {
        if let Some(name) = runtime.name().filter(|name| !known.names.contains(*name)) {
            let what = format!("{key} is {name:?}, and the engine does not know it: such jobs do not start");
            findings.push(Finding::fail("oci", what, remedy(runtime)));
        }
    }
    if config.runtime.is_pool() && config.isolation.agent == OciRuntime::Runsc {
        findings.push(Finding::warn(
            "oci",
            "containers of gVisor cannot wait in a pool: jobs of agents start cold",
            "leave it, if isolation is worth more than a quick start",
        ));
    }
    findings
}

/// How Docker gets to know an OCI runtime. What is told to gVisor: the runner's socket is on the host, a network it
/// has none, and the profile of system calls counts inside it too.
fn remedy(runtime: OciRuntime) -> &'static str {
    match runtime {
        OciRuntime::Engines | OciRuntime::Runc => {
            "install it (`apt-get install runc`): every Docker knows it by this name"
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
    fn what_is_asked_for_and_not_there_is_told_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let toml =
            "runtime = \"pool:docker\"\n[isolation]\nagent = \"runsc\"\ndev = \"crun\"\nbuild = \"runc\"\n";
        std::fs::write(dir.path().join("mgx.toml"), toml).unwrap();
        let config = load(&Inputs { dir: dir.path().to_owned(), ..Inputs::default() }).unwrap().config;
        let names = ["io.containerd.runc.v2", "runc"].map(str::to_owned);
        let known = Known { names: names.into(), own: "runc".to_owned() };
        let mut text = String::new();
        for Finding { verdict, check, what, remedy } in look(&known, &config) {
            writeln!(text, "{verdict:?} {check}: {what}").unwrap();
            if let Some(remedy) = remedy {
                writeln!(text, "  remedy: {remedy}").unwrap();
            }
        }
        insta::assert_snapshot!(text);
    }
}
