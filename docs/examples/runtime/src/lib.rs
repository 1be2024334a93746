//! A runtime in one file: containers made with nothing but `unshare` and `chroot` (util-linux, coreutils; root).
//!
//! An image is a directory with `/agent-runner` and the mount points of `INSIDE`. A container is a directory with the
//! files `pid` and, after its end, `code`, and a process in namespaces of its own. That suffices for a runtime: the order
//! of the steps, the runner link and the runs come with [`EngineRuntime`]. The test runs the conformance suite.
//!
//! This is an example and does not isolate untrusted code: there are no limits, no filter of system calls, and the image
//! is writable.

use std::collections::HashSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use mgx_protocol::SlotId;
use mgx_runtimes::engine::{ContainerExit, ExitStream};
use mgx_runtimes::{
    ContainerEngine, ContainerSpec, Ended, EngineInfo, EngineRuntime, Listed, Placement, RuntimeError,
    RuntimeErrorKind,
};

/// How often the example checks for containers that have ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The script of the container's first process, in new namespaces: `$1` is the image, `$2` the link directory, `$3` the
/// workspace, which may be empty. Its mounts are private to the container.
const INSIDE: &str = r#"
mount --bind "$2" "$1/run/mgx" && mount -t proc proc "$1/proc" || exit 125
for device in null random urandom; do mount --bind "/dev/$device" "$1/dev/$device" || exit 125; done
mount -t tmpfs tmpfs "$1/tmp" || exit 125
[ -z "$3" ] || mount --bind "$3" "$1/workspace" || exit 125
exec env -i MGX_SLOT="$MGX_SLOT" "$(command -v chroot)" --userspec=10001:10001 "$1" /agent-runner"#;

/// Starts the first process of the new PID namespace, and passes its exit code on.
const START: &str = r#"sh -c "$@"; exit $?"#;

/// Waits for the container and writes its exit code to a file: `$1` is its directory, the rest is its command.
const WAIT: &str = r#"
here="$1"; shift; echo $$ >"$here/pid.new" && mv "$here/pid.new" "$here/pid"
"$@" >"$here/log" 2>&1 </dev/null; echo $? >"$here/code.new" && mv "$here/code.new" "$here/code""#;

/// The runtime of these containers.
pub type Unshared = EngineRuntime<Unshare>;

/// Makes containers with `unshare`.
#[derive(Debug)]
pub struct Unshare {
    /// Holds a directory for each container.
    directory: PathBuf,
}

impl Unshare {
    /// An engine whose containers are in `directory`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(directory: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    fn of(&self, slot: &SlotId) -> PathBuf {
        self.directory.join(slot.as_str())
    }

    fn slots(&self) -> Result<Vec<SlotId>, RuntimeError> {
        let entries = std::fs::read_dir(&self.directory).map_err(|error| {
            RuntimeError::new(RuntimeErrorKind::Unavailable, "cannot list the containers").because(error)
        })?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }
}

#[async_trait]
impl ContainerEngine for Unshare {
    async fn create(
        &self,
        spec: &ContainerSpec,
        placement: &Placement,
        link: &Path,
    ) -> Result<(), RuntimeError> {
        if !Path::new(&spec.image).join("agent-runner").is_file() {
            let message = format!("there is no image {:?}", spec.image);
            return Err(RuntimeError::new(RuntimeErrorKind::ImageMissing, message));
        }
        let here = self.of(&placement.slot);
        // fails if another call has made it
        std::fs::create_dir(&here).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::AlreadyExists => RuntimeErrorKind::Conflict,
                _ => RuntimeErrorKind::Refused,
            };
            RuntimeError::new(kind, format!("cannot make {}", here.display())).because(error)
        })?;
        let workspace = placement.workspace.as_ref().map_or(Path::new(""), mgx_runtimes::Workspace::path);
        let parts = [Path::new(&spec.image), link, workspace].map(|path| path.to_string_lossy().into_owned());
        std::fs::write(here.join("parts"), parts.join("\n")).map_err(refused)
    }

    /// Nothing has to be checked: no engine could ignore a part of the request.
    async fn inspect(&self, _: &ContainerSpec, _: &Placement) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn start(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let here = self.of(slot);
        let parts = std::fs::read_to_string(here.join("parts")).map_err(refused)?;
        let namespaces = ["--mount", "--pid", "--net", "--uts", "--ipc"];
        let mut wait = Command::new("sh");
        wait.args(["-c", WAIT, "wait"]).arg(&here).arg("unshare").args(namespaces);
        wait.args(["sh", "-c", START, "first", INSIDE, "inside"])
            .args(parts.split('\n'))
            .env("MGX_SLOT", slot.as_str());
        // a group of its own, so that a signal to the platform does not reach it
        wait.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // tokio reaps it when it ends
        tokio::process::Command::from(wait).spawn().map_err(refused)?;
        while !here.join("pid").exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn exit_of(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError> {
        let here = self.of(slot);
        if !here.is_dir() {
            return Err(RuntimeError::new(
                RuntimeErrorKind::NotFound,
                format!("there is no container {slot}"),
            ));
        }
        // read last: the waiting process may write the code between both checks
        let is_waited_for = waiter(&here).is_none_or(|pid| Path::new("/proc").join(pid.to_string()).exists());
        let code = std::fs::read_to_string(here.join("code")).ok().and_then(|code| code.trim().parse().ok());
        Ok(match (code, is_waited_for) {
            (Some(code), _) => Some(Ended::Died { code }),
            (None, true) => None,
            (None, false) => Some(Ended::Lost),
        })
    }

    async fn log_tail(&self, slot: &SlotId) -> String {
        std::fs::read_to_string(self.of(slot).join("log")).unwrap_or_default()
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let here = self.of(slot);
        if let Some(pid) = waiter(&here) {
            let kill = Command::new("kill").args(["-KILL", "--", &format!("-{pid}")]).output();
            kill.map_err(refused)?;
        }
        match std::fs::remove_dir_all(here) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let mut listed = Vec::new();
        for slot in self.slots()? {
            // a container that was removed meanwhile is left out
            if let Ok(ended) = self.exit_of(&slot).await {
                listed.push(Listed { slot, running: ended.is_none() });
            }
        }
        Ok(listed)
    }

    async fn ping(&self) -> Result<(), RuntimeError> {
        self.slots().map(drop)
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        Ok(EngineInfo { name: "unshare".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
    }

    /// An engine with an event stream would be asked; here the containers are checked regularly.
    async fn exits(&self, _: Option<i64>) -> Result<ExitStream, RuntimeError> {
        let exits =
            stream::unfold((Self { directory: self.directory.clone() }, HashSet::new()), async |state| {
                let (unshare, mut reported) = state;
                loop {
                    for slot in unshare.slots().unwrap_or_default() {
                        if let Ok(Some(ended)) = unshare.exit_of(&slot).await
                            && reported.insert(slot.clone())
                        {
                            return Some((
                                Ok(ContainerExit { of: Some((slot, ended)), at: None }),
                                (unshare, reported),
                            ));
                        }
                    }
                    tokio::time::sleep(CHECK_INTERVAL).await;
                }
            });
        Ok(exits.boxed())
    }
}

/// The process that waits for the container in `here`, if it has been started.
fn waiter(here: &Path) -> Option<u32> {
    std::fs::read_to_string(here.join("pid")).ok()?.trim().parse().ok()
}

fn refused(error: io::Error) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Refused, "cannot keep a container").because(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use mgx_runtimes::conformance::{Kit, Task, Unsupported, conformance_without};
    use mgx_runtimes::{Limits, Links, Network, OciRuntime};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_does_what_every_runtime_must_but_limit_memory() {
        if !may_unshare() {
            return println!("skipped: it takes root");
        }
        let directory = tempfile::tempdir().unwrap();
        let (image, workspace) = (directory.path().join("image"), directory.path().join("workspace"));
        make_image(&image).unwrap();
        std::fs::create_dir(&workspace).unwrap();
        std::fs::set_permissions(&workspace, PermissionsExt::from_mode(0o777)).unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (root, containers) = (directory.path().to_owned(), directory.path().join("containers"));
        let limits = Limits { memory_bytes: 64 << 20, cpu_quota: 50_000, pids: 64 };
        let spec = ContainerSpec {
            image: image.to_string_lossy().into_owned(),
            limits,
            network: Network::None,
            oci_runtime: OciRuntime::Engines,
        };
        let kit = Kit {
            missing: ContainerSpec { image: "/nonexistent".to_owned(), ..spec.clone() },
            spec,
            workspace: Some(workspace),
            argv: |task| ["/bin/sh", "-c", script(task)].map(str::to_owned).into(),
            kill: Box::new(move |slot| Box::pin(kill(containers.join(slot.as_str())))),
            another_process: Box::new(move || Box::new(runtime(&root))),
        };
        conformance_without(&[Unsupported::MemoryLimit], &runtime(directory.path()), &kit).await;
    }

    fn runtime(root: &Path) -> Unshared {
        // no task serves the tunnels
        let (tunnels, _) = mpsc::channel(1);
        let links = Links::new(root.join("l"), tunnels).unwrap();
        Unshared::new(Unshare::new(root.join("containers")).unwrap(), links)
    }

    fn may_unshare() -> bool {
        let tried = Command::new("unshare").args(["--mount", "--net", "true"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    }

    /// The runner (`just build`) and a static busybox.
    fn make_image(image: &Path) -> io::Result<()> {
        for name in ["bin", "dev", "proc", "run/mgx", "tmp", "workspace"] {
            std::fs::create_dir_all(image.join(name))?;
        }
        for device in ["null", "random", "urandom"] {
            std::fs::File::create(image.join("dev").join(device))?;
        }
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/images/agent-runner");
        let runner = std::env::var_os("MGX_AGENT_RUNNER").map_or(built, PathBuf::from);
        std::fs::copy(runner, image.join("agent-runner"))?;
        std::fs::copy("/bin/busybox", image.join("bin/busybox"))?;
        ["sh", "sleep", "seq"].iter().try_for_each(|name| symlink("busybox", image.join("bin").join(name)))
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

    /// Kills the first process of the container in `here`: the child of the waiting process's child.
    async fn kill(here: PathBuf) {
        let child = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let (unshare, code) = (child(&waiter(&here).unwrap().to_string()), here.join("code"));
        let runner = child(unshare.trim());
        assert!(Command::new("kill").args(["-KILL", runner.trim()]).status().unwrap().success());
        while !code.exists() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }
}
