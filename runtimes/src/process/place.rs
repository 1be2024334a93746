//! The directory of one slot, and the processes that belong to it.
//!
//! Every process of a slot carries the directory's path in its environment ([`MARK`]), which the kernel keeps for it:
//! a number that another process has by now is never mistaken for it, in whichever life of the platform.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mgx_protocol::LINK_SOCKET;
use mgx_protocol::SlotId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;
use tracing::warn;

use crate::{Ended, RuntimeError, RuntimeErrorKind};

/// The environment variable that says which slot a process belongs to.
const MARK: &str = "MGX_SLOT_DIR";

/// What keeps the runner: says who it is, waits, and writes down how it ended.
const KEEPER: &str = r#"echo $$ >pid || exit; "$MGX_RUNNER" >log 2>&1; echo $? >exit"#;

/// How long killed processes may take to vanish.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The most of an environment that is read, in bytes.
const MAX_ENVIRONMENT: u64 = 4 << 20;

/// How much of a failed runner's log an error tells, in bytes.
const MAX_LAST_WORDS: u64 = 2048;

/// The directory of all slots.
#[derive(Debug)]
pub(super) struct Places(PathBuf);

/// The directory of one slot.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Places {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))?;
        // one path for every life of the platform, whatever its working directory
        root.canonicalize().map(Self)
    }

    /// Where `slot` is, or would be.
    pub(super) fn of(&self, slot: &SlotId) -> Place {
        Place(self.0.join(slot.as_str()))
    }

    /// Takes `slot`. The file system lets only one do it.
    pub(super) fn make(&self, slot: &SlotId) -> Result<Place, RuntimeError> {
        let place = self.of(slot);
        fs::DirBuilder::new().mode(0o700).create(&place.0).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::AlreadyExists => RuntimeErrorKind::Conflict,
                _ => RuntimeErrorKind::Refused,
            };
            RuntimeError::new(kind, format!("cannot take slot {slot}")).because(error)
        })?;
        Ok(place)
    }

    /// Every slot that is taken.
    pub(super) fn all(&self) -> Result<Vec<SlotId>, RuntimeError> {
        let entries = fs::read_dir(&self.0).map_err(|error| unavailable("cannot list the slots", error))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }
}

impl Place {
    pub(super) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// The workspace: a link to it.
    pub(super) fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }

    /// What a command's environment has to say so that it belongs to this slot, and finds its files.
    pub(super) fn marks(&self) -> [(String, String); 2] {
        let text = |path: &Path| path.display().to_string();
        [(MARK.to_owned(), text(&self.0)), ("MGX_WORKSPACE_DIR".to_owned(), text(&self.workspace()))]
    }

    /// Starts the runner in a session of its own, as nobody's child: it outlives us, and init reaps it.
    pub(super) async fn start(
        &self,
        slot: &SlotId,
        runner: &Path,
        link: &Path,
        workspace: Option<&Path>,
    ) -> Result<(), RuntimeError> {
        let failed = |error| {
            RuntimeError::new(RuntimeErrorKind::Refused, "cannot start a runner (with setsid, of util-linux)")
                .because(error)
        };
        if let Some(workspace) = workspace {
            symlink(workspace, self.workspace()).map_err(failed)?;
        }
        let mut command = Command::new("setsid");
        command.args(["--fork", "/bin/sh", "-c", KEEPER]).current_dir(&self.0).env_clear().envs(self.marks());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("MGX_RUNNER", runner);
        command.env("MGX_SLOT", slot.as_str()).env("MGX_LINK", link.join(LINK_SOCKET)).env("TMPDIR", link);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = tokio::task::spawn_blocking(move || command.status()).await.map_err(io::Error::other);
        match started.flatten() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(io::Error::other(status.to_string()))),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether the keeper runs, and so the runner.
    pub(super) fn is_alive(&self) -> bool {
        self.keeper().is_some()
    }

    /// Whether the keeper has seen the runner end.
    pub(super) fn has_ended(&self) -> bool {
        self.code().is_some()
    }

    /// Resolves when the runner has ended and everything that it left behind has been killed.
    pub(super) async fn death(&self) -> Ended {
        if let Some(keeper) = self.keeper() {
            #[expect(deprecated, reason = "unsound only for what is no file of its own; an OwnedFd is")]
            match AsyncFd::new(keeper) {
                Ok(keeper) => drop(keeper.readable().await),
                Err(error) => warn!(%error, "cannot wait for a process"),
            }
        }
        while let Err(error) = self.sweep().await {
            warn!(%error, "trying again");
        }
        self.code().map_or(Ended::Lost, |code| Ended::Died { code })
    }

    /// Kills every process of this slot, and waits until all are gone.
    pub(super) async fn sweep(&self) -> Result<(), RuntimeError> {
        let limit = Instant::now() + KILL_LIMIT;
        loop {
            let place = self.clone();
            let killing = tokio::task::spawn_blocking(move || place.kill()).await.map_err(io::Error::other);
            match killing.flatten() {
                Ok(0) => return Ok(()),
                Ok(left) if Instant::now() > limit => {
                    let message = format!("{left} processes could not be killed");
                    return Err(RuntimeError::new(RuntimeErrorKind::Deadline, message));
                }
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => return Err(unavailable("cannot look for processes", error)),
            }
        }
    }

    /// Deletes the directory, not the workspace.
    pub(super) fn delete(&self) -> Result<(), RuntimeError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unavailable("cannot delete the directory of a slot", error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What the runner wrote before it died.
    pub(super) fn last_words(&self) -> String {
        let mut words = Vec::new();
        if let Ok(log) = File::open(self.0.join("log")) {
            log.take(MAX_LAST_WORDS).read_to_end(&mut words).ok();
        }
        String::from_utf8_lossy(&words).trim().to_owned()
    }

    /// The exit code of the runner: 128 + the signal's number if a signal ended it, as shells have it.
    fn code(&self) -> Option<i64> {
        fs::read_to_string(self.0.join("exit")).ok()?.trim().parse().ok()
    }

    /// The keeper, if it runs.
    fn keeper(&self) -> Option<OwnedFd> {
        let pid = fs::read_to_string(self.0.join("pid")).ok()?;
        self.process(Pid::from_raw(pid.trim().parse().ok()?)?)
    }

    /// Process `pid`, if it belongs to this slot and has not ended.
    fn process(&self, pid: Pid) -> Option<OwnedFd> {
        // held first and looked at afterwards, so that it cannot become another one in between
        let process = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        let mut environment = Vec::new();
        let file = File::open(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
        // one that has ended has no environment any more
        file.take(MAX_ENVIRONMENT).read_to_end(&mut environment).ok()?;
        let mark = format!("{MARK}={}", self.0.display());
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()).then_some(process)
    }

    /// Kills every process of this slot; how many there were.
    fn kill(&self) -> io::Result<usize> {
        let mut killed = 0;
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(process) = Pid::from_raw(pid).and_then(|pid| self.process(pid)) {
                // it may have ended by itself
                pidfd_send_signal(process, Signal::KILL).ok();
                killed += 1;
            }
        }
        Ok(killed)
    }
}

fn unavailable(message: &str, error: io::Error) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Unavailable, message).because(error)
}
