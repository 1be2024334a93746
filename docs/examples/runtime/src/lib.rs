//! A runtime in one file: containers made with nothing but `unshare` and `chroot` (util-linux, coreutils; root).
//!
//! An image is a directory with `/agent-runner` in it, and with what is mounted over (see [`INSIDE`]). A container is a directory of files, `pid` and in the end
//! `code`, and a process in namespaces of its own. That is enough to be a runtime: the order of the steps, the runner
//! link and all that a run is come with [`Contained`]. The test below runs the suite that every runtime has to pass.
//!
//! It is an example and no wall for untrusted code: there are no limits, no filter of system calls, and the image can
//! be written to by whoever may.

use std::collections::HashSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use mgx_protocol::SlotId;
use mgx_runtimes::contained::{Contained, End, EndStream};
use mgx_runtimes::{
    ContainerSpec, Containers, Ended, EngineInfo, Listed, Placement, RuntimeError, RuntimeErrorKind,
};

/// How often it is looked for containers that have ended.
const LOOK: Duration = Duration::from_millis(20);

/// Becomes the container's first process, in namespaces that are new: `$1` is the image, `$2` the link directory, `$3`
/// the workspace, which may be missing. What is mounted here is seen by nobody else.
const INSIDE: &str = r#"
mount --bind "$2" "$1/run/mgx" && mount -t proc proc "$1/proc" || exit 125
for device in null random urandom; do mount --bind "/dev/$device" "$1/dev/$device" || exit 125; done
mount -t tmpfs tmpfs "$1/tmp" || exit 125
[ -z "$3" ] || mount --bind "$3" "$1/workspace" || exit 125
exec env -i MGX_SLOT="$MGX_SLOT" "$(command -v chroot)" --userspec=10001:10001 "$1" /agent-runner"#;

/// The first process that this starts is the first one of the new namespace, and how it ended is passed on.
const FIRST: &str = r#"sh -c "$@"; exit $?"#;

/// Waits for the container and writes down how it ended: `$1` is its directory, the rest makes it.
const KEEPER: &str = r#"
here="$1"; shift; echo $$ >"$here/pid.new" && mv "$here/pid.new" "$here/pid"
"$@" >"$here/log" 2>&1 </dev/null; echo $? >"$here/code.new" && mv "$here/code.new" "$here/code""#;

/// Containers of namespaces.
pub type Unshared = Contained<Unshare>;

/// How they are made.
#[derive(Debug)]
pub struct Unshare {
    /// A directory for each; what is not in it does not exist.
    directory: PathBuf,
}

impl Unshare {
    /// Containers that are kept in `directory`.
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
impl Containers for Unshare {
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
        // the file system lets only one make it
        std::fs::create_dir(&here).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::AlreadyExists => RuntimeErrorKind::Conflict,
                _ => RuntimeErrorKind::Refused,
            };
            RuntimeError::new(kind, format!("cannot make {}", here.display())).because(error)
        })?;
        let workspace =
            placement.workspace.as_ref().map(|workspace| workspace.path()).unwrap_or(Path::new(""));
        let parts = [Path::new(&spec.image), link, workspace].map(|path| path.to_string_lossy().into_owned());
        std::fs::write(here.join("parts"), parts.join("\n")).map_err(refused)
    }

    /// There is nothing between us and what was asked for.
    async fn inspect(&self, _: &ContainerSpec, _: &Placement) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn start(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let here = self.of(slot);
        let parts = std::fs::read_to_string(here.join("parts")).map_err(refused)?;
        let namespaces = ["--mount", "--pid", "--net", "--uts", "--ipc"];
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&here).arg("unshare").args(namespaces);
        keeper
            .args(["sh", "-c", FIRST, "first", INSIDE, "inside"])
            .args(parts.split('\n'))
            .env("MGX_SLOT", slot.as_str());
        // whoever kills the platform does not kill this
        keeper.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // tokio reaps it when it ends
        tokio::process::Command::from(keeper).spawn().map_err(refused)?;
        while !here.join("pid").exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn ended(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError> {
        let here = self.of(slot);
        if !here.is_dir() {
            return Err(RuntimeError::new(
                RuntimeErrorKind::NotFound,
                format!("there is no container {slot}"),
            ));
        }
        // its keeper may write the code and go between two looks: the code comes last
        let is_kept = keeper(&here).is_none_or(|pid| Path::new("/proc").join(pid.to_string()).exists());
        let code = std::fs::read_to_string(here.join("code")).ok().and_then(|code| code.trim().parse().ok());
        Ok(match (code, is_kept) {
            (Some(code), _) => Some(Ended::Died { code }),
            (None, true) => None,
            (None, false) => Some(Ended::Lost),
        })
    }

    async fn last_words(&self, slot: &SlotId) -> String {
        std::fs::read_to_string(self.of(slot).join("log")).unwrap_or_default()
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let here = self.of(slot);
        if let Some(pid) = keeper(&here) {
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
            // one that vanishes meanwhile is not there
            if let Ok(ended) = self.ended(&slot).await {
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

    /// An engine that can tell would be asked; here they are looked for.
    async fn ends(&self, _: Option<i64>) -> Result<EndStream, RuntimeError> {
        let looking =
            stream::unfold((Self { directory: self.directory.clone() }, HashSet::new()), async |state| {
                let (unshare, mut told) = state;
                loop {
                    for slot in unshare.slots().unwrap_or_default() {
                        if let Ok(Some(ended)) = unshare.ended(&slot).await
                            && told.insert(slot.clone())
                        {
                            return Some((Ok(End { of: Some((slot, ended)), at: None }), (unshare, told)));
                        }
                    }
                    tokio::time::sleep(LOOK).await;
                }
            });
        Ok(looking.boxed())
    }
}

/// The process that waits for the container in `here`, if that has been started.
fn keeper(here: &Path) -> Option<u32> {
    std::fs::read_to_string(here.join("pid")).ok()?.trim().parse().ok()
}

fn refused(error: io::Error) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Refused, "cannot keep a container").because(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use mgx_runtimes::conformance::{Kit, Lacking, Task, conformance_without};
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
        let (place, containers) = (directory.path().to_owned(), directory.path().join("containers"));
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
            again: Box::new(move || Box::new(runtime(&place))),
        };
        conformance_without(&[Lacking::MemoryLimit], &runtime(directory.path()), &kit).await;
    }

    fn runtime(place: &Path) -> Unshared {
        // nobody listens to tunnels
        let (tunnels, _) = mpsc::channel(1);
        let links = Links::new(place.join("l"), tunnels).unwrap();
        Unshared::new(Unshare::new(place.join("containers")).unwrap(), links)
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
            Task::Devour => unreachable!("it has no limit of memory"),
        }
    }

    /// Kills the first process of the container in `here`: the child of the keeper's child.
    async fn kill(here: PathBuf) {
        let child = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let (unshare, code) = (child(&keeper(&here).unwrap().to_string()), here.join("code"));
        let runner = child(unshare.trim());
        assert!(Command::new("kill").args(["-KILL", runner.trim()]).status().unwrap().success());
        while !code.exists() {
            tokio::time::sleep(LOOK).await;
        }
    }
}
