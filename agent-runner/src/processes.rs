//! The processes of the container: starts the command, signals all of them, and reaps every one.
//!
//! As PID 1 we inherit every orphan. One loop of waitpid(2) reaps them all, so nobody else may wait for a child:
//! neither `std` nor tokio does.

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

/// How long killed processes may take to vanish. One that hangs in the kernel longer than this is reported.
const REAP_LIMIT: Duration = Duration::from_secs(30);

/// How often the kill is repeated meanwhile: a process may be born while the others are killed.
const REPEAT_KILL: Duration = Duration::from_millis(20);

/// The longest reason that is read from a command that could not be executed.
const REASON: u64 = 4096;

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
    /// Says why it could not be executed, and closes when it was.
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
    /// None yet. From now on every child that ends is ours to reap.
    pub(crate) fn new() -> io::Result<Self> {
        let children = unix::signal(SignalKind::child())?;
        // orphans come to us even where we are not PID 1
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

    /// Reaps whatever ends, until the command itself does. Cancel-safe. Without a command: for ever.
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
        // whoever is gone already needs no signal: errors mean just that
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

    /// Kills and reaps all that is left, the command too.
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
            // either way we look again
            timeout_at(Instant::now() + REPEAT_KILL, self.children.recv()).await.ok();
        }
    }

    /// How the command ended, if it was started and has.
    pub(crate) fn status(&self) -> Option<WaitStatus> {
        self.main.as_ref()?.status
    }

    /// Why the command, which has ended, could never be executed; nothing if it was.
    pub(crate) fn not_executed(&mut self) -> Option<String> {
        let main = self.main.as_mut()?;
        let mut reason = Vec::new();
        // its other end is closed by now, so this does not wait
        main.report.set_nonblocking(true).ok()?;
        (&mut main.report).take(REASON).read_to_end(&mut reason).ok();
        (!reason.is_empty()).then(|| String::from_utf8_lossy(&reason).into_owned())
    }

    /// Reaps every process that has ended. Whether there are others.
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
