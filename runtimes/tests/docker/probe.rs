//! The walls of a container, from inside and from outside.

use std::collections::{BTreeMap, BTreeSet};

use mgx_runtimes::conformance::invocation;
use mgx_runtimes::hardening::SECCOMP;
use mgx_runtimes::{Command, Output};
use rstest::rstest;

use crate::world::{On, World, shell};

/// Prints one line per wall: its name, a tab, what is seen.
const PROBE: &str = r#"
say() { printf '%s\t%s\n' "$1" "$2"; }
try() { name=$1; shift; if err=$("$@" 2>&1 >/dev/null); then say "$name" allowed; else say "$name" "${err##*: }"; fi; }
field() { while read -r key value _; do [ "$key" = "$1:" ] && echo "$value"; done </proc/self/status; }
cgroup() { cat /sys/fs/cgroup/$1 2>/dev/null || cat /sys/fs/cgroup/$2 2>/dev/null; }
say user "$(id -u):$(id -g)"
say capabilities "$(field CapEff) $(field CapBnd)"
say no_new_privs "$(field NoNewPrivs)"
say seccomp "$(field Seccomp)"
say interfaces "$(ls /sys/class/net | tr '\n' ' ')"
say memory "$(cgroup memory/memory.limit_in_bytes memory.max)"
say cpu "$(cgroup cpu/cpu.cfs_quota_us cpu.max)"
say pids "$(cgroup pids/pids.max pids.max)"
say nofile "$(ulimit -n)"
say core "$(ulimit -c)"
say sockets "$(find / -xdev -name '*.sock' 2>/dev/null | tr '\n' ' ')$(ls /run /run/mgx | tr '\n' ' ')"
say environment "$(tr '\0' '\n' </proc/1/environ | cut -d= -f1 | grep -v -x -E 'PATH|HOME|HOSTNAME|TERM|container' | tr '\n' ' ')"
try root_write touch /x
try link_write touch /run/mgx/x
try tmp_write touch /tmp/x
try workspace_write touch /workspace/x
try mount mount -t tmpfs none /tmp
try user_namespace unshare -U true
try mount_namespace unshare -m true
try setuid_root chroot / true
try kernel_log dmesg
try sysctl touch /proc/sys/kernel/hostname
"#;

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[case::podman_as_docker(On::PodmanAsDocker)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_workspace_is_reached_from_inside(#[case] on: On) {
    let world = World::new(on, "inside").await;
    let runtime = world.runtime();
    let placement = world.placement("inside-1");
    runtime.create(&World::spec(), &placement).await.unwrap();
    let probe =
        PROBE.replace("tr ", "busybox tr ").replace("cut ", "busybox cut ").replace("dmesg", "busybox dmesg");
    let probe = probe.replace("try setuid_root chroot", "try setuid_root busybox chroot");
    let mut run = runtime.invoke(&placement.slot, invocation(shell(&probe))).await.unwrap();
    let mut text = String::new();
    let ended = 'run: loop {
        for output in run.next(64).await {
            match output {
                Output::Event(event) => {
                    for line in
                        event.data.values().filter_map(|value| value.as_str()).filter(|it| it.contains('\t'))
                    {
                        text.push_str(line);
                        text.push('\n');
                    }
                }
                Output::Ended(ended) => break 'run ended,
            }
        }
    };
    run.tell(Command::Dismiss).await;
    runtime.remove(&placement.slot).await.unwrap();
    let seen: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    assert!(seen.len() > 20, "the probe has run: {ended:?} {text}");
    // the same from within, whoever the engine is
    insta::assert_debug_snapshot!("nothing_but_the_workspace_is_reached_from_inside", seen);
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[case::podman_as_docker(On::PodmanAsDocker)]
#[tokio::test(flavor = "multi_thread")]
async fn the_engine_has_kept_every_line_of_the_hardening(#[case] on: On) {
    let world = World::new(on, "outside").await;
    let runtime = world.runtime();
    let placement = world.placement("outside-1");
    runtime.create(&World::spec(), &placement).await.unwrap();
    let container =
        on.client().await.inspect_container(&format!("mgx-{}", placement.slot), None).await.unwrap();
    let system_calls = match on {
        On::Docker => None,
        On::Podman | On::PodmanAsDocker => Some(system_calls(&container.id.unwrap())),
    };
    runtime.remove(&placement.slot).await.unwrap();

    let config = container.config.unwrap();
    assert_eq!(config.user.as_deref(), Some("10001:10001"));
    assert!(config.env.unwrap().contains(&format!("MGX_SLOT={}", placement.slot)));
    assert_eq!(config.labels.unwrap()["mgx.slot"], placement.slot.as_str());

    let mut host = container.host_config.unwrap();
    let info = on.client().await.info().await.unwrap();
    let cgroup_v1 = info.cgroup_version == Some(bollard::models::SystemInfoCgroupVersionEnum::_1);
    assert_eq!(host.memory_swappiness == Some(0), cgroup_v1, "0 wherever the engine knows it");
    let options = host.security_opt.take().unwrap();
    assert!(options.iter().any(|option| option == "no-new-privileges"), "{options:?}");
    match system_calls {
        None => assert!(options.contains(&format!("seccomp={SECCOMP}")), "the profile is ours"),
        // Podman does not show it
        Some(system_calls) => assert_eq!(system_calls, allowed(), "the profile is ours"),
    }
    for mount in host.mounts.iter_mut().flatten() {
        mount.source = Some("<host>".to_owned());
    }
    for bind in host.binds.iter_mut().flatten() {
        *bind = format!("<host>{}", &bind[bind.find(':').unwrap()..]);
    }
    let mounts = container.mounts.unwrap();
    assert_eq!(mounts.len(), 2, "the link and the workspace: {mounts:?}");
    assert!(mounts.iter().all(|mount| mount.propagation.as_deref() == Some("rprivate")), "{mounts:?}");
    let unset = |value: &serde_json::Value| match value {
        serde_json::Value::Null => true,
        serde_json::Value::Bool(value) => !value,
        serde_json::Value::Number(number) => number.as_i64() == Some(0),
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(items) => items.is_empty(),
        serde_json::Value::Object(fields) => fields.is_empty(),
    };
    let host: BTreeMap<String, serde_json::Value> =
        serde_json::from_value(serde_json::to_value(host).unwrap()).unwrap();
    let kept: BTreeMap<_, _> = host
        .into_iter()
        .filter(|(key, value)| !unset(value) && key != "MaskedPaths" && key != "ReadonlyPaths")
        .collect();
    insta::with_settings!({ snapshot_suffix => format!("{on:?}").to_lowercase() }, {
        insta::assert_json_snapshot!(kept);
    });
}

/// The system calls that Podman has told the OCI runtime to allow without conditions.
fn system_calls(container: &str) -> BTreeSet<String> {
    let format = ["inspect", "--format", "{{.OCIConfigPath}}", container];
    let path = std::process::Command::new("podman").args(format).output().unwrap();
    let path = String::from_utf8(path.stdout).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(path.trim()).unwrap()).unwrap();
    assert_eq!(config["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    unconditional(&config["linux"]["seccomp"])
}

/// Those that the profile allows.
fn allowed() -> BTreeSet<String> {
    unconditional(&serde_json::from_str(SECCOMP).unwrap())
}

fn unconditional(profile: &serde_json::Value) -> BTreeSet<String> {
    let rules = profile["syscalls"].as_array().unwrap();
    let allowing =
        rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule.get("args").is_none());
    let names = allowing.flat_map(|rule| rule["names"].as_array().unwrap());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}
