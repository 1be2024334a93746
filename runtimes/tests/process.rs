//! The process runtime passes the conformance suite, except for what needs a container.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mgx_protocol::SlotId;
use mgx_runtimes::conformance::{Kit, Task, Unsupported, conformance_without};
use mgx_runtimes::{
    ContainerSpec, Limits, Links, Network, OciRuntime, Placement, Process, ProcessConfig, Runtime,
    RuntimeErrorKind,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread")]
async fn processes_do_what_every_runtime_must_but_for_what_needs_a_container() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("workspace")).unwrap();
    let (slots, again) = (directory.path().join("slots"), directory.path().to_owned());
    let kit = Kit {
        spec: spec(),
        missing: spec(),
        workspace: Some(directory.path().join("workspace")),
        argv: |task| ["/bin/sh", "-c", script(task)].map(str::to_owned).into(),
        kill: Box::new(move |slot| Box::pin(kill(slots.join(slot.as_str())))),
        another_process: Box::new(move || Box::new(runtime(&again, &runner()))),
    };
    let runtime = runtime(directory.path(), &runner());
    conformance_without(&[Unsupported::Images, Unsupported::MemoryLimit], &runtime, &kit).await;
    assert_eq!(processes(directory.path()), [0; 0], "no process is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_not_there_is_the_missing_image() {
    let directory = TempDir::new().unwrap();
    let runtime = runtime(directory.path(), Path::new("/nonexistent/agent-runner"));
    let error = runtime.create(&spec(), &placement("none-1")).await.unwrap_err();
    assert_eq!(error.kind(), RuntimeErrorKind::ImageMissing);
    assert_eq!(runtime.list().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_cannot_start_says_why_and_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let runtime = runtime(directory.path(), Path::new("/etc/passwd"));
    let error = runtime.create(&spec(), &placement("unstartable-1")).await.unwrap_err();
    assert_eq!(error.kind(), RuntimeErrorKind::NotReady);
    assert!(error.to_string().contains("Permission denied"), "{error}");
    assert_eq!(runtime.list().await.unwrap(), []);
}

fn runtime(directory: &Path, runner: &Path) -> Process {
    // no task serves the tunnels
    let (tunnels, _) = mpsc::channel(1);
    let links = Links::new(directory.join("l"), tunnels).unwrap();
    let config = ProcessConfig { runner: runner.to_owned(), slots: directory.join("slots") };
    Process::new(config, links).unwrap()
}

fn spec() -> ContainerSpec {
    let limits = Limits { memory_bytes: 64 << 20, cpu_quota: 50_000, pids: 64 };
    ContainerSpec {
        image: "none".to_owned(),
        limits,
        network: Network::None,
        oci_runtime: OciRuntime::Engines,
    }
}

fn placement(slot: &str) -> Placement {
    Placement { slot: slot.parse::<SlotId>().unwrap(), workspace: None, labels: BTreeMap::new() }
}

fn script(task: Task) -> &'static str {
    match task {
        Task::Hello => "echo hello; exit 3",
        Task::Count => "for i in $(seq 20); do echo $i; sleep 0.1; done",
        Task::Sleep => "echo ready; exec sleep 60",
        Task::Ignore => "trap '' TERM; echo ready; sleep 60",
        Task::ExhaustMemory => unreachable!("it has no limit of memory"),
    }
}

/// Kills the runner of the slot in `directory`, which is the only child of its shell.
async fn kill(directory: PathBuf) {
    let shell = std::fs::read_to_string(directory.join("pid")).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", shell.trim());
    let runner = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(runner).unwrap(), Signal::KILL).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while Path::new("/proc").join(shell.trim()).join("exe").read_link().is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "the shell of {} runs on", directory.display());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Every process that has something of `directory` in its environment.
fn processes(directory: &Path) -> Vec<u32> {
    let text = directory.to_str().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(text)
    })
    .collect()
}

fn runner() -> PathBuf {
    let path = std::env::var_os("MGX_AGENT_RUNNER").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/images/agent-runner"),
        PathBuf::from,
    );
    assert!(path.is_file(), "{}: build the agent-runner first, or set MGX_AGENT_RUNNER", path.display());
    path.canonicalize().unwrap()
}
