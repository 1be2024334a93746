//! The processes of the container: starts the command, signals all of them, and reaps every one.
//!
//! PID 1 inherits every orphan. One loop of waitpid(2) reaps them all, so neither `std` nor tokio may wait for a child.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{Instant, timeout_at};

/// How long killed processes may take to end. One that hangs in the kernel for longer is reported.
const REAP_LIMIT: Duration = Duration::from_secs(30);

/// How often SIGKILL is sent again meanwhile: a process may fork while the others are killed.
const KILL_INTERVAL: Duration = Duration::from_millis(20);

/// The longest reason that is read from a command that could not be executed, in bytes.
const MAX_REASON_BYTES: u64 = 4096;

/// The processes of this container.
#[derive(Debug)]
pub(crate) struct Processes {
    children: unix::Signal,
    main: Option<Main>,
}

/// The command.
#[derive(Debug)]
struct Main {
    pid: Pid,
    /// Carries the reason if it could not be executed; closed by exec(2).
    report: UnixStream,
    status: Option<WaitStatus>,
}

/// What the command prints.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdout: Receiver,
    pub(crate) stderr: Receiver,
}

impl Processes {
    /// Without a command yet. From now on this reaps every child of the process.
    pub(crate) fn new() -> io::Result<Self> {
        let children = unix::signal(SignalKind::child())?;
        // orphans are handed to this process even where it is not PID 1
        set_child_subreaper(Some(getpid()))?;
        Ok(Self { children, main: None })
    }

    /// Starts the command, once. Whether it could be executed is known when it has ended: see
    /// [`Self::not_executed`].
    pub(crate) fn start(
        &mut self,
        argv: &[String],
        env: &BTreeMap<String, String>,
        workdir: &str,
    ) -> io::Result<Streams> {
        let (report, helper_end) = UnixStream::pair()?;
        let mut child = Command::new("/proc/self/exe")
            .arg("exec")
            .arg(workdir)
            .args(argv)
            .env_clear()
            .envs(env)
            .stdin(OwnedFd::from(helper_end))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        self.main = Some(Main { pid: Pid::from_child(&child), report, status: None });
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Streams {
            stdout: Receiver::from_owned_fd(stdout.into())?,
            stderr: Receiver::from_owned_fd(stderr.into())?,
        })
    }

    /// Reaps processes until the command has ended; without a command, for ever. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> WaitStatus {
        loop {
            self.reap();
            if let Some(status) = self.main.as_ref().and_then(|main| main.status) {
                return status;
            }
            self.children.recv().await;
        }
    }

    /// Sends `signal` to every process of the container but this one.
    pub(crate) fn signal(&self, signal: Signal) {
        // an error means that the process has ended already
        if getpid().is_init() {
            // kill(2): a "group" 1 is -1, every process except PID 1 itself
            kill_process_group(Pid::INIT, signal).ok();
        } else if let Some(main) = &self.main {
            kill_process_group(main.pid, signal).ok();
            if main.status.is_none() {
                // it may not have begun its own session yet
                kill_process(main.pid, signal).ok();
            }
        }
    }

    /// Kills and reaps every process that is left, the command included.
    ///
    /// # Errors
    /// The time limit passed: a process hangs in the kernel, or has escaped where this is not PID 1.
    pub(crate) async fn kill_rest(&mut self) -> Result<(), String> {
        let limit = Instant::now() + REAP_LIMIT;
        loop {
            self.signal(Signal::KILL);
            if !self.reap() {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(format!("a process could not be killed within {} s", REAP_LIMIT.as_secs()));
            }
            // a signal or the timeout: both lead to the next kill
            timeout_at(Instant::now() + KILL_INTERVAL, self.children.recv()).await.ok();
        }
    }

    /// How the command ended, if it has.
    pub(crate) fn status(&self) -> Option<WaitStatus> {
        self.main.as_ref()?.status
    }

    /// Why the command, which has ended, could not be executed; `None` if it was.
    pub(crate) fn not_executed(&mut self) -> Option<String> {
        let main = self.main.as_mut()?;
        let mut reason = Vec::new();
        // the other end is closed by now, so this does not block
        main.report.set_nonblocking(true).ok()?;
        (&mut main.report).take(MAX_REASON_BYTES).read_to_end(&mut reason).ok();
        (!reason.is_empty()).then(|| String::from_utf8_lossy(&reason).into_owned())
    }

    /// Reaps every process that has ended; whether others are left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(main) = self.main.as_mut().filter(|main| main.pid == pid) {
                        main.status = Some(status);
                    }
                }
                Ok(None) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}
