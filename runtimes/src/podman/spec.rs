//! What a container looks like to libpod: the same walls as elsewhere, and whether the engine has put them up.

use std::path::Path;

use mgx_agent_runner::protocol::{LINK_DIR, WORKSPACE_DIR};
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
        if !self.config.oci_runtime.is_empty() {
            body["oci_runtime"] = json!(self.config.oci_runtime);
        }
        body
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
        let runtime = &self.config.oci_runtime;
        if !runtime.is_empty() && seen["OCIRuntime"] != **runtime {
            return Some(format!(
                "the OCI runtime is {} instead of {runtime:?}: before version 5 Podman takes it from its own file \
                 only, so put runtime = {runtime:?} under [engine] in /etc/containers/containers.conf and start its \
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
