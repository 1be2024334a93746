//! The hardening of every container: what the engine is asked for, because the code in it is untrusted.
//!
//! `seccomp.json` is a profile in the engine's format, written for this platform: an allow-list of what a process
//! without privileges needs. Beyond what engines refuse by themselves it refuses `io_uring`, keyrings, new
//! namespaces, the mount family, debugging of other processes, 32-bit system calls, and every socket family but
//! unix, inet, inet6 and netlink.

pub(crate) mod profile;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::MountBindOptionsPropagationEnum::{self, RPRIVATE, RSLAVE};
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountBindOptions, MountType, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use mgx_protocol::{LINK_DIR, WORKSPACE_DIR};
use rustix::process::{Resource, getrlimit};

use crate::{ContainerSpec, Network, OciRuntime, Placement, Workspace};

/// Label that names the instance of the platform a container belongs to.
pub const INSTANCE_LABEL: &str = "mgx.instance";

/// Label that names the slot of a container.
pub const SLOT_LABEL: &str = "mgx.slot";

/// Label of holders of network namespaces, with the instance that they belong to. They have no other label.
pub const HOLDER_LABEL: &str = "mgx.holder";

/// The host name inside every container.
const HOSTNAME: &str = "mgx";

/// The system calls that a container may make (<https://docs.docker.com/engine/security/seccomp/>).
pub const SECCOMP: &str = include_str!("hardening/seccomp.json");

/// The rule by which the profile refuses `clone3(2)`, and the rule that allows it.
const CLONE3_REFUSED: &str =
    "\"names\": [\"clone3\"],\n      \"action\": \"SCMP_ACT_ERRNO\",\n      \"errnoRet\": 38";
const CLONE3_ALLOWED: &str = "\"names\": [\"clone3\"],\n      \"action\": \"SCMP_ACT_ALLOW\"";

const MIB: i64 = 1024 * 1024;

/// The period of a processor quota, in microseconds.
pub(crate) const CPU_PERIOD_US: i64 = 100_000;

/// The size of `/tmp` and of `/dev/shm`, in bytes. Both are memory, and count as such.
pub(crate) const TMP_BYTES: i64 = 64 * MIB;

/// How much of a container's output the engine keeps, in bytes.
pub(crate) const LOG_BYTES: i64 = 10 * MIB;

/// Limits of each process: open files, and the sizes of core dumps and of any file, in bytes.
pub(crate) const ULIMITS: [(&str, i64); 3] = [("nofile", 4096), ("core", 0), ("fsize", 2048 * MIB)];

/// What is the same for every container of this instance of the platform.
#[derive(Clone, Debug)]
pub struct Hardening {
    /// The instance, as in [`INSTANCE_LABEL`].
    pub instance: String,
    /// `uid:gid` of every process in the container; never 0.
    pub user: String,
    /// Whether the engine understands `memory.swappiness`: cgroup version 1 only. Nothing depends on it, because
    /// memory and swap together are limited to `memory_bytes` as well.
    pub swappiness: bool,
    /// The engine that the request is for.
    pub dialect: Dialect,
}

/// The engine behind the Docker API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Docker.
    Docker,
    /// Podman.
    Podman {
        /// The path of the system-call profile, where Docker takes its text.
        profile: PathBuf,
        /// The limit of [`max_processes`]: Podman's own default needs a capability that its service may not have.
        processes: i64,
    },
}

/// The highest limit for the processes of one user, over all containers, that Podman can set: the kernel's highest PID,
/// and no more than this process's own limit. The limit of a single container is its `pids`.
pub fn max_processes() -> i64 {
    let highest = std::fs::read_to_string("/proc/sys/kernel/pid_max");
    let highest = highest.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(32_768);
    let own = getrlimit(Resource::Nproc).maximum.and_then(|own| i64::try_from(own).ok());
    own.map_or(highest, |own| own.min(highest))
}

impl Hardening {
    /// What to ask of the engine for the container of `placement`, whose link directory is `link`.
    pub fn container(&self, spec: &ContainerSpec, placement: &Placement, link: &Path) -> ContainerCreateBody {
        let mut labels: HashMap<_, _> = placement.labels.clone().into_iter().collect();
        labels.insert(INSTANCE_LABEL.to_owned(), self.instance.clone());
        labels.insert(SLOT_LABEL.to_owned(), placement.slot.to_string());
        ContainerCreateBody {
            image: Some(spec.image.clone()),
            hostname: Some(HOSTNAME.to_owned()),
            user: Some(self.user.clone()),
            env: Some(vec![format!("MGX_SLOT={}", placement.slot)]),
            labels: Some(labels),
            host_config: Some(self.host(spec, placement, link)),
            ..ContainerCreateBody::default()
        }
    }

    fn host(&self, spec: &ContainerSpec, placement: &Placement, link: &Path) -> HostConfig {
        // read-only: processes can connect to the socket in it, and nothing can be written
        let mut mounts = vec![bind(link, LINK_DIR, true, RPRIVATE)];
        mounts.extend(placement.workspace.as_ref().map(|workspace| {
            let propagation = match workspace {
                Workspace::Directory(_) => RPRIVATE,
                Workspace::MountPoint(_) => RSLAVE,
            };
            bind(workspace.path(), WORKSPACE_DIR, false, propagation)
        }));
        let memory = i64::try_from(spec.limits.memory_bytes).unwrap_or(i64::MAX);
        HostConfig {
            runtime: spec.oci_runtime.name().map(str::to_owned),
            privileged: Some(false),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned(), self.seccomp(spec.oci_runtime)]),
            readonly_rootfs: Some(true),
            // `exec` allows nothing new: a program could be put into the workspace as well
            tmpfs: Some(HashMap::from([(
                "/tmp".to_owned(),
                format!("rw,exec,nosuid,nodev,mode=1777,size={TMP_BYTES}"),
            )])),
            shm_size: Some(TMP_BYTES),
            mounts: Some(mounts),
            memory: Some(memory),
            memory_swap: Some(memory),
            memory_swappiness: self.swappiness.then_some(0),
            cpu_period: Some(CPU_PERIOD_US),
            cpu_quota: Some(i64::try_from(spec.limits.cpu_quota).unwrap_or(i64::MAX)),
            pids_limit: Some(i64::from(spec.limits.pids)),
            ulimits: Some(self.ulimits()),
            network_mode: Some(match spec.network {
                Network::None => "none".to_owned(),
            }),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            init: Some(false),
            auto_remove: Some(false),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(
                    [("max-size", "10m"), ("max-file", "1"), ("mode", "non-blocking")]
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .into(),
                ),
            }),
            ..HostConfig::default()
        }
    }
}

/// The request for a holder of network namespaces (`docker/namespace_holders.rs`), whose link directory is `link`. It runs
/// the platform's own program and nothing of a job's. Beyond other containers it may make namespaces and bring up their
/// loopback. The engine removes it when it ends.
pub(crate) fn holder(image: &str, instance: &str, link: &Path) -> ContainerCreateBody {
    let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
    let profile = format!("seccomp={}", with_unshare());
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: texts(&["hold"]),
        // a container that joins its network namespace has the same host name
        hostname: Some(HOSTNAME.to_owned()),
        user: Some("0:0".to_owned()),
        labels: Some(HashMap::from([(HOLDER_LABEL.to_owned(), instance.to_owned())])),
        host_config: Some(HostConfig {
            privileged: Some(false),
            cap_drop: texts(&["ALL"]),
            cap_add: texts(&["SYS_ADMIN", "NET_ADMIN"]),
            security_opt: texts(&["no-new-privileges", &profile]),
            readonly_rootfs: Some(true),
            mounts: Some(vec![bind(link, LINK_DIR, true, RPRIVATE)]),
            memory: Some(32 * MIB),
            memory_swap: Some(32 * MIB),
            cpu_period: Some(CPU_PERIOD_US),
            cpu_quota: Some(CPU_PERIOD_US),
            pids_limit: Some(8),
            network_mode: Some("none".to_owned()),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            init: Some(false),
            auto_remove: Some(true),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The system-call profile with `unshare(2)` allowed.
fn with_unshare() -> String {
    let rule = r#"{ "names": ["unshare"], "action": "SCMP_ACT_ALLOW" }, "#;
    let at = SECCOMP.find("\"syscalls\"").and_then(|at| Some(at + SECCOMP[at..].find('[')? + 1));
    let (before, after) = SECCOMP.split_at(at.unwrap_or_default());
    format!("{before}{rule}{after}")
}

/// The profile with `clone3(2)` allowed. gVisor's kernel has no `clone3` and answers `ENOSYS`, as the profile would; but
/// gVisor refuses by a profile with another error number, after which the C library starts no program.
fn for_gvisor() -> String {
    SECCOMP.replacen(CLONE3_REFUSED, CLONE3_ALLOWED, 1)
}

/// Makes the container of `body` join the network namespace of `holder`, which brings its host name along.
pub(crate) fn join(body: &mut ContainerCreateBody, holder: &str) {
    body.hostname = None;
    if let Some(host) = &mut body.host_config {
        host.network_mode = Some(format!("container:{holder}"));
    }
}

impl Hardening {
    fn seccomp(&self, oci_runtime: OciRuntime) -> String {
        match (&self.dialect, oci_runtime) {
            (Dialect::Docker, OciRuntime::Engines | OciRuntime::Runc | OciRuntime::Crun) => {
                format!("seccomp={SECCOMP}")
            }
            (Dialect::Docker, OciRuntime::Runsc) => format!("seccomp={}", for_gvisor()),
            (Dialect::Podman { profile, .. }, _) => format!("seccomp={}", profile.display()),
        }
    }

    fn ulimits(&self) -> Vec<ResourcesUlimits> {
        let processes = match &self.dialect {
            Dialect::Docker => None,
            Dialect::Podman { processes, .. } => Some(("nproc", *processes)),
        };
        ULIMITS.into_iter().chain(processes).map(|(name, value)| ulimit(name, value)).collect()
    }
}

fn bind(source: &Path, target: &str, read_only: bool, propagation: MountBindOptionsPropagationEnum) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(propagation),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;

    use super::*;
    use crate::Limits;

    #[test]
    fn this_is_what_the_engine_is_asked_for() {
        let hardening = Hardening {
            instance: "test".to_owned(),
            user: "10001:10001".to_owned(),
            swappiness: true,
            dialect: Dialect::Docker,
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
        let body = hardening.container(&spec, &placement, Path::new("/run/mgx/job-1"));
        let json = serde_json::to_string(&body).unwrap();
        let profile = serde_json::to_string(SECCOMP).unwrap();
        let elided = json.replace(profile.trim_matches('"'), "<seccomp.json>");
        assert_ne!(elided, json, "the profile is there");
        insta::assert_json_snapshot!(serde_json::from_str::<serde_json::Value>(&elided).unwrap());
    }

    #[test]
    fn this_is_what_a_holder_of_namespaces_may() {
        let body = holder("mgx-agent:dev", "test", Path::new("/srv/data/links-net/1"));
        let json = serde_json::to_string(&body).unwrap();
        let profile = serde_json::to_string(&with_unshare()).unwrap();
        let elided = json.replace(profile.trim_matches('"'), "<seccomp.json and unshare>");
        assert_ne!(elided, json, "the profile is there");
        insta::assert_json_snapshot!(serde_json::from_str::<serde_json::Value>(&elided).unwrap());

        let mut more: serde_json::Value = serde_json::from_str(&with_unshare()).unwrap();
        let rule = more["syscalls"].as_array_mut().unwrap().remove(0);
        assert_eq!(rule, serde_json::json!({ "names": ["unshare"], "action": "SCMP_ACT_ALLOW" }));
        assert_eq!(more, serde_json::from_str::<serde_json::Value>(SECCOMP).unwrap(), "and nothing else");
    }

    #[test]
    fn gvisor_is_left_to_say_that_it_has_no_clone3_and_nothing_else() {
        let read = |profile: &str| serde_json::from_str::<serde_json::Value>(profile).unwrap();
        let (usual, mut gvisors) = (read(SECCOMP), read(&for_gvisor()));
        let rules = gvisors["syscalls"].as_array_mut().unwrap();
        let rule = rules.iter_mut().find(|rule| rule["names"] == serde_json::json!(["clone3"])).unwrap();
        assert_eq!(rule["action"], "SCMP_ACT_ALLOW");
        rule["action"] = "SCMP_ACT_ERRNO".into();
        rule["errnoRet"] = 38.into();
        assert_eq!(gvisors, usual);
    }

    #[test]
    fn the_profile_allows_nothing_that_reaches_out_of_the_container() {
        let profile: serde_json::Value = serde_json::from_str(SECCOMP).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let rules = profile["syscalls"].as_array().unwrap();
        let allowed: BTreeSet<&str> = rules
            .iter()
            .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule.get("args").is_none())
            .flat_map(|rule| rule["names"].as_array().unwrap())
            .map(|name| name.as_str().unwrap())
            .collect();
        assert!(allowed.is_superset(&BTreeSet::from(["read", "execve", "connect", "futex", "wait4"])));
        for denied in [
            "acct add_key bpf chroot clone clone3 clock_settime delete_module fanotify_init finit_module fsconfig",
            "fsmount fsopen fspick init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp",
            "kexec_file_load kexec_load keyctl lookup_dcookie mbind mount mount_setattr move_mount move_pages",
            "name_to_handle_at open_by_handle_at open_tree perf_event_open personality pidfd_getfd pivot_root",
            "process_vm_readv process_vm_writev ptrace quotactl reboot request_key setns settimeofday socket",
            "swapoff swapon syslog umount2 unshare userfaultfd vmsplice",
        ]
        .iter()
        .flat_map(|line| line.split(' '))
        {
            assert!(!allowed.contains(denied), "{denied}");
        }
    }
}
