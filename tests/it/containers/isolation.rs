//! Jobs in gVisor, on an engine that belongs to the test.
#![expect(clippy::print_stderr, reason = "a test that cannot run says why")]

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use mgx_testkit::{Client, Dockerd, Engine, Server};
use serde_json::{Value, json};

use crate::containers::containment::PROBE;
use crate::jobs::session::settings;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_gvisor_is_held_by_the_same_walls_and_by_a_kernel_of_its_own() -> Result<()> {
    let Some(dockerd) = docker_with_gvisor()? else { return Ok(()) };
    let host = format!("docker.host = \"{}\"", dockerd.host());
    let settings = format!("{}\n{host}\nagent.image = \"mgx-base\"\nagent.grace = \"1s\"", settings());
    let limits = "agent.memory = \"256MiB\"\nagent.cpu_quota = 50000";
    let server = Server::start(&format!("{settings}\nisolation.agent = \"runsc\"\n{limits}"), &[]).await?;
    let client = server.client();

    insta::assert_debug_snapshot!(probed(&client).await?);
    the_engine_limits_it(&client, &dockerd).await?;
    states_tell_the_truth(&client).await?;
    let doctor = String::from_utf8(server.command(&["doctor"]).output()?.stdout)?;
    assert!(doctor.contains("runc, runsc; the engine's default is runc"), "{doctor}");

    let server = Server::start(&format!("{settings}\nisolation.agent = \"crun\""), &[]).await?;
    let (_, job) = ended(&server.client(), &json!({ "command": ["/bin/busybox", "true"] })).await?;
    let error = job["error"].as_str().unwrap_or_default();
    assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("start_failed")), "{job}");
    assert!(error.contains("the engine does not know the OCI runtime \"crun\": install it"), "{error}");
    let doctor = String::from_utf8(server.command(&["doctor"]).output()?.stdout)?;
    assert!(doctor.contains("isolation.agent is \"crun\", and the engine does not know it"), "{doctor}");
    Ok(())
}

/// An engine with gVisor; `None` where either is not installed.
fn docker_with_gvisor() -> Result<Option<Dockerd>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let runsc = std::env::split_paths(&path).map(|dir| dir.join("runsc")).find(|path| path.is_file());
    let (Some(runsc), true) = (runsc, Dockerd::is_possible()) else {
        eprintln!("skipped: it takes root, dockerd and gVisor (`apt-get install runsc`)");
        return Ok(None);
    };
    // what has to be said so that runners reach the platform's sockets depends on the version
    let flags = std::process::Command::new(&runsc).args(["help", "flags"]).output()?;
    let flags = [flags.stdout, flags.stderr].concat();
    let sockets = if String::from_utf8_lossy(&flags).contains("  -host-uds") {
        "--host-uds=all"
    } else {
        "--fsgofer-host-uds"
    };
    // not kvm: a machine that is virtual itself may hang with it
    let args = ["--platform=ptrace", "--network=none", "--oci-seccomp", sockets];
    Dockerd::with_runtimes(&json!({ "runsc": { "path": runsc, "runtimeArgs": args } })).map(Some)
}

/// What the container may do, seen from inside.
async fn probed(client: &Client) -> Result<BTreeMap<String, String>> {
    let host = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel =
        format!("[ $(/bin/busybox uname -r) = '{}' ] && echo kernel=host || echo kernel=own", host.trim());
    let probe = format!("{PROBE}\n{kernel}");
    let (said, job) = ended(client, &json!({ "command": ["/bin/busybox", "sh", "-c", probe] })).await?;
    ensure!(job["state"] == "succeeded", "{job}");
    let lines = said.iter().filter_map(|text| text.split_once('='));
    // limits are not seen from inside: gVisor's kernel has control groups of its own
    let limits = ["memory", "swap", "cpu", "pids"];
    let lines = lines.filter(|(name, _)| !limits.contains(name));
    Ok(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Its limits are those of the control group that holds gVisor itself.
async fn the_engine_limits_it(client: &Client, dockerd: &Dockerd) -> Result<()> {
    let session = client.session("nextjs").await?;
    let job = json!({ "command": ["/bin/busybox", "sh", "-c", "echo up; sleep 600"] });
    let job = client.submit(&session, &job).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    let label = format!("label=mgx.session={session}");
    let id = Engine::docker_at(Some(&dockerd.host()), &["ps", "-q", "--no-trunc", "--filter", &label])?;
    let seen: Value = serde_json::from_str(&Engine::docker_at(Some(&dockerd.host()), &["inspect", &id])?)?;
    assert_eq!(seen[0]["HostConfig"]["Runtime"], "runsc");
    let group = std::fs::read_to_string(format!("/proc/{}/cgroup", seen[0]["State"]["Pid"]))?;
    let limit = |controller: &str, v1: &str, v2: &str| -> Result<String> {
        let of = |line: &&str| {
            let mut fields = line.splitn(3, ':');
            fields.next().is_some()
                && fields.next().is_some_and(|names| names.split(',').any(|name| name == controller))
        };
        let path = match group.lines().find(of) {
            Some(line) => {
                format!("/sys/fs/cgroup/{controller}{}/{v1}", line.rsplit(':').next().unwrap_or_default())
            }
            None => format!("/sys/fs/cgroup{}/{v2}", group.trim().rsplit(':').next().unwrap_or_default()),
        };
        Ok(std::fs::read_to_string(&path).context(path)?.trim().to_owned())
    };
    assert_eq!(limit("memory", "memory.limit_in_bytes", "memory.max")?, "268435456");
    assert_eq!(limit("pids", "pids.max", "pids.max")?, "512");
    assert_eq!(limit("cpu", "cpu.cfs_quota_us", "cpu.max")?.split(' ').next(), Some("50000"));
    client.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await?;
    client.until_finish(&session).await?;
    assert_eq!(client.job(&job).await?["state"], "cancelled");
    Ok(())
}

async fn states_tell_the_truth(client: &Client) -> Result<()> {
    for (script, timeout, state, reason) in [
        ("exit 0", 60, "succeeded", Value::Null),
        ("exit 3", 60, "failed", json!("nonzero_exit")),
        ("sleep 600", 2, "timed_out", json!("run_timeout")),
    ] {
        let job = json!({ "command": ["/bin/busybox", "sh", "-c", script], "timeout_s": timeout });
        let (_, job) = ended(client, &job).await?;
        assert_eq!((&job["state"], &job["reason"]), (&json!(state), &reason), "{script}: {job}");
    }
    Ok(())
}

/// Runs a job; what it has printed, and what became of it.
async fn ended(client: &Client, job: &Value) -> Result<(Vec<String>, Value)> {
    let session = client.session("nextjs").await?;
    let id = client.submit(&session, job).await?;
    let frames = client.until_finish(&session).await?;
    let lines =
        frames.iter().filter_map(|frame| frame.data["data"]["text"].as_str()).map(str::to_owned).collect();
    Ok((lines, client.job(&id).await?))
}
