//! The directory of one slot, and the processes that belong to it.
//!
//! Every process of a slot has the directory's path in its environment ([`SLOT_VARIABLE`]), which the kernel keeps. So a PID
//! that was reused by another process is never mistaken for it, also after a restart of the platform.

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

/// The environment variable that names the slot directory of a process.
const SLOT_VARIABLE: &str = "MGX_SLOT_DIR";

/// The shell that starts the runner: writes its own PID, waits, and writes the runner's exit code.
const SHELL: &str = r#"echo $$ >pid || exit; "$MGX_RUNNER" >log 2>&1; echo $? >exit"#;

/// How long killed processes may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The most of an environment that is read, in bytes.
const MAX_ENVIRONMENT_BYTES: u64 = 4 << 20;

/// How much of a failed runner's log an error message has, in bytes.
const MAX_LOG_TAIL_BYTES: u64 = 2048;

/// The directory of all slots.
#[derive(Debug)]
pub(super) struct SlotDirectories(PathBuf);

/// The directory of one slot.
#[derive(Clone, Debug)]
pub(super) struct SlotDirectory(PathBuf);

impl SlotDirectories {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))?;
        // the same path after a restart with another working directory
        root.canonicalize().map(Self)
    }

    /// The directory of `slot`, which may not exist.
    pub(super) fn of(&self, slot: &SlotId) -> SlotDirectory {
        SlotDirectory(self.0.join(slot.as_str()))
    }

    /// Makes the directory of `slot`, which fails if it exists.
    pub(super) fn make(&self, slot: &SlotId) -> Result<SlotDirectory, RuntimeError> {
        let directory = self.of(slot);
        fs::DirBuilder::new().mode(0o700).create(&directory.0).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::AlreadyExists => RuntimeErrorKind::Conflict,
                _ => RuntimeErrorKind::Refused,
            };
            RuntimeError::new(kind, format!("cannot take slot {slot}")).because(error)
        })?;
        Ok(directory)
    }

    /// Every slot that has a directory.
    pub(super) fn all(&self) -> Result<Vec<SlotId>, RuntimeError> {
        let entries = fs::read_dir(&self.0).map_err(|error| unavailable("cannot list the slots", error))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }
}

impl SlotDirectory {
    pub(super) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// The symbolic link to the workspace.
    pub(super) fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }

    /// The environment variables that mark a process as the slot's and name its workspace.
    pub(super) fn variables(&self) -> [(String, String); 2] {
        let text = |path: &Path| path.display().to_string();
        [(SLOT_VARIABLE.to_owned(), text(&self.0)), ("MGX_WORKSPACE_DIR".to_owned(), text(&self.workspace()))]
    }

    /// Starts the runner in a session of its own, as a child of init, so that it outlives the platform.
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
        command
            .args(["--fork", "/bin/sh", "-c", SHELL])
            .current_dir(&self.0)
            .env_clear()
            .envs(self.variables());
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

    /// Whether the shell runs, and so the runner.
    pub(super) fn is_alive(&self) -> bool {
        self.shell().is_some()
    }

    /// Whether the shell has written the runner's exit code.
    pub(super) fn has_ended(&self) -> bool {
        self.code().is_some()
    }

    /// Resolves when the runner has ended and every process that it left has been killed.
    pub(super) async fn exit(&self) -> Ended {
        if let Some(shell) = self.shell() {
            #[expect(
                deprecated,
                reason = "unsound only for types whose descriptor can change; an OwnedFd's cannot"
            )]
            match AsyncFd::new(shell) {
                Ok(shell) => drop(shell.readable().await),
                Err(error) => warn!(%error, "cannot wait for a process"),
            }
        }
        while let Err(error) = self.kill_processes().await {
            warn!(%error, "cannot kill the processes of a slot; trying again");
        }
        self.code().map_or(Ended::Lost, |code| Ended::Died { code })
    }

    /// Kills every process of this slot, and waits until all are gone.
    pub(super) async fn kill_processes(&self) -> Result<(), RuntimeError> {
        let limit = Instant::now() + KILL_LIMIT;
        loop {
            let directory = self.clone();
            let killing =
                tokio::task::spawn_blocking(move || directory.kill()).await.map_err(io::Error::other);
            match killing.flatten() {
                Ok(0) => return Ok(()),
                Ok(left) if Instant::now() > limit => {
                    let message = format!("{left} processes could not be killed");
                    return Err(RuntimeError::new(RuntimeErrorKind::Deadline, message));
                }
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => return Err(unavailable("cannot list the processes", error)),
            }
        }
    }

    /// Deletes the directory, and not the workspace that it links to.
    pub(super) fn delete(&self) -> Result<(), RuntimeError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unavailable("cannot delete the directory of a slot", error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The end of the runner's log.
    pub(super) fn log_tail(&self) -> String {
        let mut log_bytes = Vec::new();
        if let Ok(log) = File::open(self.0.join("log")) {
            log.take(MAX_LOG_TAIL_BYTES).read_to_end(&mut log_bytes).ok();
        }
        String::from_utf8_lossy(&log_bytes).trim().to_owned()
    }

    /// The exit code of the runner: 128 + the signal's number if a signal ended it, as in POSIX shells.
    fn code(&self) -> Option<i64> {
        fs::read_to_string(self.0.join("exit")).ok()?.trim().parse().ok()
    }

    /// The shell, if it runs.
    fn shell(&self) -> Option<OwnedFd> {
        let pid = fs::read_to_string(self.0.join("pid")).ok()?;
        self.process(Pid::from_raw(pid.trim().parse().ok()?)?)
    }

    /// Process `pid`, if it belongs to this slot and has not ended.
    fn process(&self, pid: Pid) -> Option<OwnedFd> {
        // opened before its environment is read, so that the PID cannot be reused in between
        let process = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        let mut environment = Vec::new();
        let file = File::open(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
        // a process that has ended has no environment
        file.take(MAX_ENVIRONMENT_BYTES).read_to_end(&mut environment).ok()?;
        let mark = format!("{SLOT_VARIABLE}={}", self.0.display());
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()).then_some(process)
    }

    /// Sends SIGKILL to every process of this slot; how many there were.
    fn kill(&self) -> io::Result<usize> {
        let mut killed = 0;
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(process) = Pid::from_raw(pid).and_then(|pid| self.process(pid)) {
                // an error means that it has ended
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
