//! The isolation of a container, seen from inside and by the engine.

use std::collections::BTreeMap;

use anyhow::Result;
use mgx_testkit::Engine;
use serde_json::json;

use crate::jobs::session::busybox_with;

/// A script that prints what the container may do, one `key=value` a line.
pub(crate) const PROBE: &str = r#"
b=/bin/busybox
echo "uid=$($b id -u)"
$b grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | $b sed 's/:[[:space:]]*/=/'
( $b touch /probe ) 2>/dev/null && echo root=writable || echo root=read-only
( $b touch /tmp/probe ) 2>/dev/null && echo tmp=writable || echo tmp=read-only
( $b touch /workspace/probe ) 2>/dev/null && echo workspace=writable || echo workspace=read-only
echo "interfaces=$($b ls /sys/class/net | $b tr '\n' ' ')"
echo "sockets=$($b find / -xdev -name '*.sock' -not -path '/proc/*' 2>/dev/null | $b grep -c -E 'docker|podman|containerd')"
echo "memory=$($b cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || $b cat /sys/fs/cgroup/memory.max)"
echo "swap=$($b cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes 2>/dev/null || $b cat /sys/fs/cgroup/memory.swap.max)"
echo "cpu=$($b cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || $b cut -d ' ' -f 1 /sys/fs/cgroup/cpu.max)"
echo "pids=$($b cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || $b cat /sys/fs/cgroup/pids.max)"
$b unshare -U $b true 2>/dev/null && echo userns=made || echo userns=refused
$b mount -t tmpfs none /tmp 2>/dev/null && echo mount=made || echo mount=refused
$b wget -q -T 2 -O /dev/null http://1.1.1.1/ 2>/dev/null && echo network=reached || echo network=unreachable
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_isolated_as_seen_from_inside() -> Result<()> {
    let server = busybox_with("agent.memory = \"256MiB\"\nagent.cpu_quota = 50000\nagent.pids = 64").await?;
    server.wait_until_pool_has_one().await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    client.submit(&session, &json!({ "command": ["/bin/busybox", "sh", "-c", PROBE] })).await?;
    let frames = client.until_finish(&session).await?;
    let lines = frames.iter().filter_map(|frame| frame.data["data"]["text"].as_str());
    let seen: BTreeMap<_, _> = lines.filter_map(|line| line.split_once('=')).collect();
    let mut seen = seen;
    if seen.get("swap").is_some_and(|swap| *swap == "268435456" || *swap == "0") {
        seen.insert("swap", "no more than memory");
    }
    insta::assert_debug_snapshot!(seen, @r#"
    {
        "CapBnd": "0000000000000000",
        "CapEff": "0000000000000000",
        "NoNewPrivs": "1",
        "Seccomp": "2",
        "cpu": "50000",
        "interfaces": "lo ",
        "memory": "268435456",
        "mount": "refused",
        "network": "unreachable",
        "pids": "64",
        "root": "read-only",
        "sockets": "0",
        "swap": "no more than memory",
        "tmp": "writable",
        "uid": "10001",
        "userns": "refused",
        "workspace": "writable",
    }
    "#);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_isolated_as_the_engine_reports_it() -> Result<()> {
    let server = busybox_with("").await?;
    server.wait_until_pool_has_one().await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = client
        .submit(&session, &json!({ "command": ["/bin/busybox", "sh", "-c", "echo up; sleep 600"] }))
        .await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    let container = Engine::inspect(&server.container_of(&session, &job)?)?;
    let host = &container["HostConfig"];
    assert_eq!(host["Memory"], json!(2u64 << 30));
    assert_eq!(host["MemorySwap"], host["Memory"]);
    assert_eq!((&host["CpuQuota"], &host["CpuPeriod"]), (&json!(100_000), &json!(100_000)));
    if Engine::name() == "podman" {
        // it lists what there was to drop; what is left tells more
        assert_eq!((&container["BoundingCaps"], &container["EffectiveCaps"]), (&json!(null), &json!(null)));
    } else {
        assert_eq!(host["CapDrop"], json!(["ALL"]));
    }
    let network = host["NetworkMode"].as_str().unwrap_or_default();
    if let Some(holder) = network.strip_prefix("container:") {
        // an empty one that one of the platform's own containers has made for it
        let holder = Engine::inspect(holder)?;
        assert!(holder["Config"]["Labels"]["mgx.holder"].is_string(), "{holder}");
        assert_eq!(holder["HostConfig"]["NetworkMode"], "none");
    } else {
        assert_eq!(network, "none");
    }
    assert_eq!(
        (&host["ReadonlyRootfs"], &host["AutoRemove"], &host["Privileged"]),
        (&json!(true), &json!(false), &json!(false))
    );
    let mounts: Vec<_> =
        container["Mounts"].as_array().into_iter().flatten().map(|mount| &mount["Destination"]).collect();
    assert_eq!(mounts.len(), 2, "the workspace and the runner link: {mounts:?}");
    let env = container["Config"]["Env"].to_string();
    assert!(
        !env.contains("OPENAI") && !env.contains("PROMPT"),
        "what belongs to a job comes over the link: {env}"
    );
    Ok(())
}
