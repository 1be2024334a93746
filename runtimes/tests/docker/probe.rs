//! The hardening of a container, from inside and from outside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bollard::query_parameters::{CreateContainerOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::future::join_all;
use mgx_protocol::LINK_SOCKET;
use mgx_runtimes::conformance::invocation;
use mgx_runtimes::hardening::SECCOMP;
use mgx_runtimes::{Command, Output, Placement, PoolableRuntime};
use rstest::rstest;

use crate::world::{On, World, shell};

/// Prints one line for each part of the hardening: its name, a tab, what is seen.
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
    seen_from_inside(&*runtime, &placement).await;
}

/// Runs the probe in the container of `placement`, which is removed then.
async fn seen_from_inside(runtime: &dyn PoolableRuntime, placement: &Placement) {
    let probe =
        PROBE.replace("tr ", "busybox tr ").replace("cut ", "busybox cut ").replace("dmesg", "busybox dmesg");
    let probe = probe.replace("try setuid_root chroot", "try setuid_root busybox chroot");
    let text = printed(runtime, placement, &probe).await;
    runtime.remove(&placement.slot).await.unwrap();
    let seen: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    assert!(seen.len() > 20, "the probe has run: {text}");
    // one snapshot for all engines
    insta::assert_debug_snapshot!("nothing_but_the_workspace_is_reached_from_inside", seen);
}

/// The lines with a tab in them that `script` prints in the container of `placement`.
async fn printed(runtime: &dyn PoolableRuntime, placement: &Placement, script: &str) -> String {
    let mut run = runtime.invoke(&placement.slot, invocation(shell(script))).await.unwrap();
    let mut text = String::new();
    loop {
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
                Output::Ended(_) => {
                    run.tell(Command::Dismiss).await;
                    return text;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_namespace_of_a_holder_is_empty_and_used_by_one_container() {
    let world = World::new(On::Docker, "store").await;
    let runtime = world.runtime();
    let docker = On::Docker.client().await;
    let network = async |placement: &Placement| {
        let seen = docker.inspect_container(&format!("mgx-{}", placement.slot), None).await.unwrap();
        seen.host_config.unwrap().network_mode.unwrap()
    };
    // the first start does not wait for a holder
    let mut joined = 0;
    for round in 0.. {
        let placement = world.placement(&format!("store-{round}"));
        runtime.create(&World::spec(), &placement).await.unwrap();
        if network(&placement).await.starts_with("container:") {
            seen_from_inside(&*runtime, &placement).await;
            break;
        }
        runtime.remove(&placement.slot).await.unwrap();
        assert!(round < 50, "no holder is ready");
    }
    // one after the other, and then more at once than there are holders
    let placements: Vec<_> = (0..6).map(|index| world.placement(&format!("together-{index}"))).collect();
    let (first, rest) = placements.split_at(3);
    let spec = World::spec();
    for placement in first {
        runtime.create(&spec, placement).await.unwrap();
    }
    let created = join_all(rest.iter().map(|placement| runtime.create(&spec, placement))).await;
    created.into_iter().for_each(Result::unwrap);
    let look = r#"printf '%s\t%s %s\n' "$(busybox readlink /proc/self/ns/net)" "$(ls /sys/class/net)" "$(cat /sys/class/net/lo/flags)"
        sleep 1"#;
    let looks = join_all(placements.iter().map(|placement| printed(&*runtime, placement, look))).await;
    for placement in &placements {
        joined += usize::from(network(placement).await.starts_with("container:"));
        runtime.remove(&placement.slot).await.unwrap();
    }
    assert!(joined >= 2, "{joined} of {} have joined one", placements.len());
    let namespaces: BTreeSet<_> = looks.iter().map(|look| look.split_once('\t').unwrap().0).collect();
    assert_eq!(namespaces.len(), placements.len(), "no two containers share one: {looks:?}");
    for look in &looks {
        assert_eq!(look.split_once('\t').unwrap().1, "lo 0x9\n", "nothing but the loopback, which is up");
    }

    let holders = async || {
        let label = HashMap::from([("label", vec![format!("mgx.holder={}", world.instance())])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
        docker.list_containers(Some(options)).await.unwrap().len()
    };
    assert!((1..=2).contains(&holders().await));
    drop(runtime);
    let began = Instant::now();
    while holders().await > 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "holders end with the platform");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(std::fs::read_dir(world.path("l-net")).unwrap().count(), 0);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_never_started_is_removed_after_a_restart() {
    let world = World::new(On::Docker, "unborn").await;
    let docker = On::Docker.client().await;
    let directory = world.path("l-net/left");
    std::fs::create_dir_all(&directory).unwrap();
    drop(std::os::unix::net::UnixListener::bind(directory.join(LINK_SOCKET)).unwrap());
    let unborn =
        bollard::models::ContainerCreateBody { image: Some(World::spec().image), ..Default::default() };
    let options = CreateContainerOptionsBuilder::new().name("mgx-net-left").build();
    docker.create_container(Some(options), unborn).await.unwrap();
    let (runtime, placement) = (world.runtime(), world.placement("unborn-1"));
    runtime.create(&World::spec(), &placement).await.unwrap();
    let began = Instant::now();
    while directory.exists() || docker.inspect_container("mgx-net-left", None).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "the holder is left over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    runtime.remove(&placement.slot).await.unwrap();
}
