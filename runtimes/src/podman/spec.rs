//! What a container looks like to libpod: the same walls as elsewhere, and whether the engine has put them up.

use std::path::Path;

use mgx_protocol::{LINK_DIR, WORKSPACE_DIR};
use serde_json::{Map, Value, json};

use super::{PodmanConfig, Service};
use crate::contained::name;
use crate::hardening::{CPU_PERIOD_US, INSTANCE_LABEL, LOG_BYTES, SLOT_LABEL, TMP_BYTES, ULIMITS};
use crate::{ContainerSpec, Network, Placement, Workspace};

/// The walls of one container.
#[derive(Debug)]
pub(super) struct Walls<'a> {
    pub(super) config: &'a PodmanConfig,
    pub(super) service: &'a Service,
    pub(super) spec: &'a ContainerSpec,
    pub(super) placement: &'a Placement,
    /// As [`crate::hardening::processes`] has it.
    pub(super) processes: i64,
}

impl Walls<'_> {
    /// What to ask of libpod (`SpecGenerator` in its reference). Keys that it does not know it ignores in silence,
    /// which is why [`missing`](Self::missing) looks at the result.
    pub(super) fn body(&self, link: &Path) -> Value {
        let slot = &self.placement.slot;
        let limits = &self.spec.limits;
        let mut labels: Map<String, Value> =
            self.placement.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        labels.insert(INSTANCE_LABEL.to_owned(), json!(self.config.instance));
        labels.insert(SLOT_LABEL.to_owned(), json!(slot));
        // Nothing in the container may write into the link directory; that does not keep anyone from connecting.
        let mut mounts = vec![bind(link, LINK_DIR, "ro", "rprivate")];
        mounts.extend(self.placement.workspace.as_ref().map(|workspace| {
            let propagation = match workspace {
                Workspace::Directory(_) => "rprivate",
                Workspace::Seat(_) => "rslave",
            };
            bind(workspace.path(), WORKSPACE_DIR, "rw", propagation)
        }));
        // `exec`: whoever could put a program here could put it into the workspace as well.
        mounts.push(json!({
            "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["rw", "exec", "nosuid", "nodev", "notmpcopyup", "mode=1777", format!("size={TMP_BYTES}")],
        }));
        let mut memory = json!({ "limit": limits.memory_bytes, "swap": limits.memory_bytes });
        if self.service.cgroup_v1 {
            memory["swappiness"] = json!(0);
        }
        let mut body = json!({
            "name": name(slot),
            "image": self.spec.image,
            "hostname": "mgx",
            "user": self.config.user,
            // nothing of the host's, the image's or the engine's
            "env": { "MGX_SLOT": slot },
            "unsetenvall": true,
            "env_host": false,
            "httpproxy": false,
            "labels": labels,
            "privileged": false,
            "cap_drop": ["ALL"],
            "no_new_privileges": true,
            "seccomp_profile_path": self.config.profile,
            "read_only_filesystem": true,
            "read_write_tmpfs": false,
            "mounts": mounts,
            "image_volume_mode": "ignore",
            "shm_size": TMP_BYTES,
            "resource_limits": {
                "memory": memory,
                "cpu": { "period": CPU_PERIOD_US, "quota": limits.cpu_quota },
                "pids": { "limit": limits.pids },
            },
            "r_limits": self.ulimits().map(|(name, value)| json!({ "type": name, "soft": value, "hard": value })).collect::<Vec<_>>(),
            "netns": { "nsmode": match self.spec.network { Network::None => "none" } },
            "ipcns": { "nsmode": "private" },
            "pidns": { "nsmode": "private" },
            "utsns": { "nsmode": "private" },
            "cgroupns": { "nsmode": "private" },
            // the files of the image, not ones of the host's
            "use_image_hosts": true,
            "use_image_resolve_conf": true,
            "init": false,
            "systemd": "false",
            "remove": false,
            "restart_policy": "no",
            "stop_timeout": 0,
            "log_configuration": { "driver": "k8s-file", "size": LOG_BYTES },
        });
        if self.service.rootless {
            // the platform's own user is the same one inside, so that both own the workspace
            body["userns"] = json!({ "nsmode": "keep-id" });
        }
        if let Some(runtime) = self.oci_runtime() {
            body["oci_runtime"] = json!(runtime);
        }
        body
    }

    /// The OCI runtime that it must run in, if not just any.
    fn oci_runtime(&self) -> Option<&str> {
        let configured = Some(self.config.oci_runtime.as_str()).filter(|name| !name.is_empty());
        self.spec.oci_runtime.name().or(configured)
    }

    /// Podman has a default of its own for what is not named here, and a service without `CAP_SYS_RESOURCE` cannot
    /// have it.
    fn ulimits(&self) -> impl Iterator<Item = (&'static str, i64)> {
        ULIMITS.into_iter().chain([("nproc", self.processes)])
    }

    /// The first wall that a container, as libpod describes it, does not have.
    pub(super) fn missing(&self, seen: &Value) -> Option<String> {
        let host = &seen["HostConfig"];
        let limits = &self.spec.limits;
        let expected = [
            ("User", &seen["Config"]["User"], json!(self.config.user)),
            ("Privileged", &host["Privileged"], json!(false)),
            ("ReadonlyRootfs", &host["ReadonlyRootfs"], json!(true)),
            (
                "NetworkMode",
                &host["NetworkMode"],
                json!(match self.spec.network {
                    Network::None => "none",
                }),
            ),
            ("PidMode", &host["PidMode"], json!("private")),
            ("UTSMode", &host["UTSMode"], json!("private")),
            ("CgroupMode", &host["CgroupMode"], json!("private")),
            ("Memory", &host["Memory"], json!(limits.memory_bytes)),
            ("MemorySwap", &host["MemorySwap"], json!(limits.memory_bytes)),
            ("CpuPeriod", &host["CpuPeriod"], json!(CPU_PERIOD_US)),
            ("CpuQuota", &host["CpuQuota"], json!(limits.cpu_quota)),
            ("PidsLimit", &host["PidsLimit"], json!(limits.pids)),
        ];
        let unequal = expected.into_iter().find(|(_, seen, wanted)| *seen != wanted);
        if let Some((name, seen, wanted)) = unequal {
            return Some(format!("{name} is {seen} instead of {wanted}"));
        }
        let has =
            |list: &Value, text: &str| list.as_array().is_some_and(|list| list.iter().any(|it| it == text));
        if !has(&host["SecurityOpt"], "no-new-privileges") {
            return Some("no-new-privileges is not set".to_owned());
        }
        for capabilities in [&seen["EffectiveCaps"], &seen["BoundingCaps"], &host["CapAdd"]] {
            if capabilities.as_array().is_some_and(|list| !list.is_empty()) {
                return Some(format!("it has the capabilities {capabilities}"));
            }
        }
        for (name, value) in self.ulimits() {
            let wanted = format!("RLIMIT_{}", name.to_ascii_uppercase());
            let is_set =
                |limit: &Value| limit["Name"] == *wanted && limit["Hard"] == value && limit["Soft"] == value;
            if !host["Ulimits"].as_array().is_some_and(|limits| limits.iter().any(is_set)) {
                return Some(format!("the limit {name} is not {value}"));
            }
        }
        let mounts = 1 + usize::from(self.placement.workspace.is_some());
        let writable = |mount: &&Value| mount["RW"] == true;
        let seen_mounts = seen["Mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
        if seen_mounts.len() != mounts || seen_mounts.iter().filter(writable).count() != mounts - 1 {
            return Some(format!("its mounts are {}", seen["Mounts"]));
        }
        if let Some(runtime) = self.oci_runtime().filter(|runtime| seen["OCIRuntime"] != **runtime) {
            return Some(format!(
                "the OCI runtime is {} instead of {runtime:?}: this Podman takes it from its own file only, \
                 so put runtime = {runtime:?} under [engine] in /etc/containers/containers.conf and start its \
                 service again",
                seen["OCIRuntime"]
            ));
        }
        None
    }
}

fn bind(source: &Path, target: &str, mode: &str, propagation: &str) -> Value {
    json!({
        "destination": target, "type": "bind", "source": source,
        "options": ["rbind", mode, propagation, "nosuid", "nodev"],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::{Limits, OciRuntime};

    fn config(oci_runtime: &str) -> PodmanConfig {
        PodmanConfig {
            host: "unix:///run/podman/podman.sock".to_owned(),
            oci_runtime: oci_runtime.to_owned(),
            instance: "test".to_owned(),
            user: "10001:10001".to_owned(),
            profile: PathBuf::from("/srv/data/seccomp.json"),
        }
    }

    /// What `ask` makes of the walls of a container of `config`, on a service that is `rootless` or not.
    fn walls<T>(config: &PodmanConfig, rootless: bool, ask: impl FnOnce(Walls<'_>) -> T) -> T {
        let service = Service {
            version: "4.3.1".to_owned(),
            rootless,
            cgroup_v1: !rootless,
            controllers: Vec::new(),
            oci_runtime: "runc".to_owned(),
            oci_version: String::new(),
        };
        let spec = ContainerSpec {
            image: "mgx-agent:dev".to_owned(),
            limits: Limits { memory_bytes: 2 << 30, cpu_quota: 100_000, pids: 256 },
            network: Network::None,
            oci_runtime: OciRuntime::Engines,
        };
        let placement = Placement {
            slot: "job-1".parse().unwrap(),
            workspace: Some(Workspace::Directory(PathBuf::from("/srv/workspaces/w1"))),
            labels: BTreeMap::from([
                ("mgx.session".to_owned(), "s1".to_owned()),
                (SLOT_LABEL.to_owned(), "a label of the caller never replaces ours".to_owned()),
            ]),
        };
        ask(Walls { config, service: &service, spec: &spec, placement: &placement, processes: 32_768 })
    }

    /// How Podman 4.3 describes a container that has every wall.
    fn closed() -> Value {
        json!({
            "OCIRuntime": "runc", "EffectiveCaps": null, "BoundingCaps": null,
            "Config": { "User": "10001:10001" },
            "Mounts": [
                { "Source": "/run/mgx/job-1", "Destination": "/run/mgx", "RW": false },
                { "Source": "/srv/workspaces/w1", "Destination": "/workspace", "RW": true },
            ],
            "HostConfig": {
                "Privileged": false, "ReadonlyRootfs": true, "NetworkMode": "none", "PidMode": "private",
                "UTSMode": "private", "CgroupMode": "private", "CapAdd": [], "SecurityOpt": ["no-new-privileges"],
                "Memory": 2_147_483_648_u64, "MemorySwap": 2_147_483_648_u64, "CpuPeriod": 100_000,
                "CpuQuota": 100_000, "PidsLimit": 256,
                "Ulimits": [
                    { "Name": "RLIMIT_NOFILE", "Soft": 4096, "Hard": 4096 },
                    { "Name": "RLIMIT_CORE", "Soft": 0, "Hard": 0 },
                    { "Name": "RLIMIT_FSIZE", "Soft": 2_147_483_648_u64, "Hard": 2_147_483_648_u64 },
                    { "Name": "RLIMIT_NPROC", "Soft": 32_768, "Hard": 32_768 },
                ],
            },
        })
    }

    #[test]
    fn this_is_what_libpod_is_asked_for() {
        let link = Path::new("/run/mgx/job-1");
        insta::assert_json_snapshot!(walls(&config(""), false, |walls| walls.body(link)));
        let rootless = walls(&config("crun"), true, |walls| walls.body(link));
        assert_eq!(rootless["userns"], json!({ "nsmode": "keep-id" }), "both own the workspace");
        assert_eq!(rootless["oci_runtime"], "crun");
        assert_eq!(
            rootless["resource_limits"]["memory"].get("swappiness"),
            None,
            "there is none in version 2"
        );
    }

    #[test]
    fn a_container_that_lacks_a_wall_is_found_out() {
        let missing = |config: &PodmanConfig, seen: &Value| walls(config, false, |walls| walls.missing(seen));
        assert_eq!(missing(&config(""), &closed()), None);
        assert_eq!(missing(&config("runc"), &closed()), None);
        for (place, value) in [
            ("/Config/User", json!("")),
            ("/HostConfig/Privileged", json!(true)),
            ("/HostConfig/ReadonlyRootfs", json!(false)),
            ("/HostConfig/NetworkMode", json!("bridge")),
            ("/HostConfig/PidMode", json!("host")),
            ("/HostConfig/UTSMode", json!("host")),
            ("/HostConfig/CgroupMode", json!("host")),
            ("/HostConfig/Memory", json!(0)),
            ("/HostConfig/MemorySwap", json!(-1)),
            ("/HostConfig/CpuQuota", json!(0)),
            ("/HostConfig/PidsLimit", json!(2048)),
            ("/HostConfig/SecurityOpt", json!([])),
            ("/HostConfig/CapAdd", json!(["CAP_SYS_ADMIN"])),
            ("/BoundingCaps", json!(["CAP_CHOWN"])),
            ("/EffectiveCaps", json!(["CAP_CHOWN"])),
            ("/HostConfig/Ulimits/0/Hard", json!(1_048_576)),
            ("/HostConfig/Ulimits/3", json!(null)),
            ("/Mounts/0/RW", json!(true)),
            ("/Mounts", json!([])),
            ("/HostConfig", json!(null)),
        ] {
            let mut seen = closed();
            *seen.pointer_mut(place).unwrap() = value;
            assert!(missing(&config(""), &seen).is_some(), "{place}");
        }
        insta::assert_snapshot!(
            missing(&config("crun"), &closed()).unwrap(),
            @r#"the OCI runtime is "runc" instead of "crun": this Podman takes it from its own file only, so put runtime = "crun" under [engine] in /etc/containers/containers.conf and start its service again"#
        );
    }
}
