//! The hardening of a container in libpod's terms, and the check that Podman has applied it.

use std::path::Path;

use mgx_protocol::{LINK_DIR, WORKSPACE_DIR};
use serde_json::{Map, Value, json};

use super::config::PodmanConfig;
use super::service::Service;
use crate::engine::container_name;
use crate::hardening::{CPU_PERIOD_US, INSTANCE_LABEL, LOG_BYTES, SLOT_LABEL, TMP_BYTES, ULIMITS};
use crate::{ContainerSpec, Network, Placement, Workspace};

/// The specification of one container.
#[derive(Debug)]
pub(super) struct PodmanSpec<'a> {
    pub(super) config: &'a PodmanConfig,
    pub(super) service: &'a Service,
    pub(super) spec: &'a ContainerSpec,
    pub(super) placement: &'a Placement,
    /// The limit of [`crate::hardening::max_processes`].
    pub(super) max_processes: i64,
}

impl PodmanSpec<'_> {
    /// The request to libpod (`SpecGenerator` in its reference). It ignores unknown keys without an error, which is why
    /// [`missing`](Self::missing) checks the result.
    pub(super) fn body(&self, link: &Path) -> Value {
        let slot = &self.placement.slot;
        let limits = &self.spec.limits;
        let mut labels: Map<String, Value> =
            self.placement.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        labels.insert(INSTANCE_LABEL.to_owned(), json!(self.config.instance));
        labels.insert(SLOT_LABEL.to_owned(), json!(slot));
        // read-only: processes can connect to the socket in it, and nothing can be written
        let mut mounts = vec![bind(link, LINK_DIR, "ro", "rprivate")];
        mounts.extend(self.placement.workspace.as_ref().map(|workspace| {
            let propagation = match workspace {
                Workspace::Directory(_) => "rprivate",
                Workspace::MountPoint(_) => "rslave",
            };
            bind(workspace.path(), WORKSPACE_DIR, "rw", propagation)
        }));
        // `exec` allows nothing new: a program could be put into the workspace as well
        mounts.push(json!({
            "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["rw", "exec", "nosuid", "nodev", "notmpcopyup", "mode=1777", format!("size={TMP_BYTES}")],
        }));
        let mut memory = json!({ "limit": limits.memory_bytes, "swap": limits.memory_bytes });
        if self.service.cgroup_v1 {
            memory["swappiness"] = json!(0);
        }
        let mut body = json!({
            "name": container_name(slot),
            "image": self.spec.image,
            "hostname": "mgx",
            "user": self.config.user,
            // no variables of the host, the image or the engine
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
            // the files of the image, not those of the host
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
            // the platform's user has the same uid inside, so that both own the workspace
            body["userns"] = json!({ "nsmode": "keep-id" });
        }
        if let Some(runtime) = self.oci_runtime() {
            body["oci_runtime"] = json!(runtime);
        }
        body
    }

    /// The OCI runtime that the container must run in; `None` if the service may choose.
    fn oci_runtime(&self) -> Option<&str> {
        let configured = Some(self.config.oci_runtime.as_str()).filter(|name| !name.is_empty());
        self.spec.oci_runtime.name().or(configured)
    }

    /// With `nproc`, because Podman's own default for it needs `CAP_SYS_RESOURCE`, which the service may not have.
    fn ulimits(&self) -> impl Iterator<Item = (&'static str, i64)> {
        ULIMITS.into_iter().chain([("nproc", self.max_processes)])
    }

    /// The first part of the hardening that is missing in `inspected`, a container as libpod describes it.
    pub(super) fn missing(&self, inspected: &Value) -> Option<String> {
        let host = &inspected["HostConfig"];
        let limits = &self.spec.limits;
        let expected = [
            ("User", &inspected["Config"]["User"], json!(self.config.user)),
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
        let unequal = expected.into_iter().find(|(_, found, wanted)| *found != wanted);
        if let Some((name, found, wanted)) = unequal {
            return Some(format!("{name} is {found} instead of {wanted}"));
        }
        // `userns` of containers.conf; rootless, the platform asks for a mapping itself
        let mapped = host["UsernsMode"].as_str().filter(|mode| !matches!(*mode, "" | "host"));
        if let Some(mode) = mapped.filter(|_| !self.service.rootless) {
            return Some(format!(
                "users are mapped (UsernsMode is {mode:?}), so that it could not write to its workspace: put userns = \"host\" \
                 under [containers] in /etc/containers/containers.conf and start the service again"
            ));
        }
        let has =
            |list: &Value, text: &str| list.as_array().is_some_and(|list| list.iter().any(|it| it == text));
        if !has(&host["SecurityOpt"], "no-new-privileges") {
            return Some("no-new-privileges is not set".to_owned());
        }
        for capabilities in [&inspected["EffectiveCaps"], &inspected["BoundingCaps"], &host["CapAdd"]] {
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
        let mounts_found = inspected["Mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
        if mounts_found.len() != mounts || mounts_found.iter().filter(writable).count() != mounts - 1 {
            return Some(format!("its mounts are {}", inspected["Mounts"]));
        }
        if let Some(runtime) = self.oci_runtime().filter(|runtime| inspected["OCIRuntime"] != **runtime) {
            return Some(format!(
                "the OCI runtime is {} instead of {runtime:?}: this Podman takes it from its own file only, \
                 so put runtime = {runtime:?} under [engine] in /etc/containers/containers.conf and start its \
                 service again",
                inspected["OCIRuntime"]
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

    /// The result of `check` for the specification of a container of `config`, on a service that is `rootless` or not.
    fn with_spec<T>(config: &PodmanConfig, rootless: bool, check: impl FnOnce(PodmanSpec<'_>) -> T) -> T {
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
        check(PodmanSpec {
            config,
            service: &service,
            spec: &spec,
            placement: &placement,
            max_processes: 32_768,
        })
    }

    /// A container with all of the hardening, as Podman 4.3 describes it.
    fn hardened() -> Value {
        json!({
            "OCIRuntime": "runc", "EffectiveCaps": null, "BoundingCaps": null,
            "Config": { "User": "10001:10001" },
            "Mounts": [
                { "Source": "/run/mgx/job-1", "Destination": "/run/mgx", "RW": false },
                { "Source": "/srv/workspaces/w1", "Destination": "/workspace", "RW": true },
            ],
            "HostConfig": {
                "Privileged": false, "ReadonlyRootfs": true, "NetworkMode": "none", "PidMode": "private",
                "UTSMode": "private", "CgroupMode": "private", "UsernsMode": "", "CapAdd": [], "SecurityOpt": ["no-new-privileges"],
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
        insta::assert_json_snapshot!(with_spec(&config(""), false, |spec| spec.body(link)));
        let rootless = with_spec(&config("crun"), true, |spec| spec.body(link));
        assert_eq!(rootless["userns"], json!({ "nsmode": "keep-id" }), "both own the workspace");
        assert_eq!(rootless["oci_runtime"], "crun");
        assert_eq!(
            rootless["resource_limits"]["memory"].get("swappiness"),
            None,
            "there is none in version 2"
        );
    }

    #[test]
    fn a_container_that_lacks_a_part_of_the_hardening_is_found() {
        let missing =
            |config: &PodmanConfig, seen: &Value| with_spec(config, false, |spec| spec.missing(seen));
        assert_eq!(missing(&config(""), &hardened()), None);
        assert_eq!(missing(&config("runc"), &hardened()), None);
        for (place, value) in [
            ("/Config/User", json!("")),
            ("/HostConfig/Privileged", json!(true)),
            ("/HostConfig/ReadonlyRootfs", json!(false)),
            ("/HostConfig/NetworkMode", json!("bridge")),
            ("/HostConfig/PidMode", json!("host")),
            ("/HostConfig/UTSMode", json!("host")),
            ("/HostConfig/CgroupMode", json!("host")),
            ("/HostConfig/UsernsMode", json!("private")),
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
            let mut seen = hardened();
            *seen.pointer_mut(place).unwrap() = value;
            assert!(missing(&config(""), &seen).is_some(), "{place}");
        }
        insta::assert_snapshot!(
            missing(&config("crun"), &hardened()).unwrap(),
            @r#"the OCI runtime is "runc" instead of "crun": this Podman takes it from its own file only, so put runtime = "crun" under [engine] in /etc/containers/containers.conf and start its service again"#
        );
    }
}
