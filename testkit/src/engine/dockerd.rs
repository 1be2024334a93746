//! A Docker engine that belongs to one test, which may kill, stop and suspend it. Never the machine's engine.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Engine;

/// How long dockerd may take to answer after its start, and to exit after SIGTERM.
const START_STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// The file with the pid of its containerd.
const CONTAINERD_PID: &str = "exec/containerd/containerd.pid";

/// An engine with a socket, images and containers of its own. Dropping it removes all of them.
#[derive(Debug)]
pub struct Dockerd {
    dir: TempDir,
    live_restore: bool,
    child: Option<Child>,
}

impl Dockerd {
    /// Whether this process may run dockerd: as root, where it is installed.
    #[must_use]
    pub fn is_possible() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        rustix::process::geteuid().is_root() && dirs.into_iter().any(|dir| dir.join("dockerd").is_file())
    }

    /// Starts an engine. With `live_restore` its containers survive its end.
    ///
    /// # Errors
    /// dockerd does not answer in time.
    pub fn start(live_restore: bool) -> Result<Self> {
        Self::start_with(live_restore, &json!({}))
    }

    /// Starts an engine with these OCI runtimes besides its own, in the form of `daemon.json`.
    ///
    /// # Errors
    /// dockerd does not answer in time.
    pub fn with_runtimes(runtimes: &Value) -> Result<Self> {
        Self::start_with(false, &json!({ "runtimes": runtimes }))
    }

    /// Starts an engine that maps the users of containers to others of the host.
    ///
    /// # Errors
    /// dockerd does not answer in time.
    pub fn with_mapped_users() -> Result<Self> {
        Self::start_with(false, &json!({ "userns-remap": "default" }))
    }

    fn start_with(live_restore: bool, settings: &Value) -> Result<Self> {
        // a short name, for the sockets in it
        let dir = tempfile::Builder::new().prefix("mgx-dk").tempdir()?;
        let mut dockerd = Self { dir, live_restore, child: None };
        // a mapped root has to pass through it
        std::fs::set_permissions(dockerd.dir.path(), std::fs::Permissions::from_mode(0o711))?;
        std::fs::write(dockerd.file("daemon.json"), settings.to_string())?;
        dockerd.up()?;
        Ok(dockerd)
    }

    /// Its address, in the form of `DOCKER_HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.file("sock").display())
    }

    /// Whether containers survive its end.
    #[must_use]
    pub fn has_live_restore(&self) -> bool {
        self.live_restore
    }

    /// Starts dockerd again, and waits until it answers.
    ///
    /// # Errors
    /// It does not answer in time.
    pub fn up(&mut self) -> Result<()> {
        // pid files of killed processes: containerd dies with its dockerd, and may remain as a zombie
        drop(std::fs::remove_file(self.file("pid")));
        if self.containerd().is_none() {
            drop(std::fs::remove_file(self.file(CONTAINERD_PID)));
        }
        let log = File::options().create(true).append(true).open(self.file("log"))?;
        // in a network namespace of its own: a dockerd without a bridge removes the bridge of another in the same one
        let mut command = Command::new("unshare");
        command.args(["--net", "dockerd", "--host"]).arg(self.host());
        for (option, name) in [
            ("--config-file", "daemon.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(option).arg(self.file(name));
        }
        command.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
        if self.live_restore {
            command.arg("--live-restore");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("cannot start dockerd")?);
        let end = Instant::now() + START_STOP_TIMEOUT;
        while Instant::now() < end {
            if Engine::docker_at(Some(&self.host()), &["version"]).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("dockerd does not answer:\n{}", self.log())
    }

    /// `kill -9`. Its containers go on; without live-restore, the next dockerd ends them.
    ///
    /// # Errors
    /// dockerd was not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("dockerd is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the exit. Without live-restore dockerd stops its containers first.
    ///
    /// # Errors
    /// dockerd was not running, or did not exit in time.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let mut child = self.child.take().context("dockerd is not running")?;
        let end = Instant::now() + START_STOP_TIMEOUT;
        while Instant::now() < end {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill()?;
        child.wait()?;
        bail!("dockerd did not end on SIGTERM:\n{}", self.log())
    }

    /// Sends dockerd a signal.
    ///
    /// # Errors
    /// dockerd is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("dockerd is not running")?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// dockerd's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// Ends the processes and mounts that remain when dockerd could not be started again to remove them.
    fn remove_leftovers(&self) {
        let dir = self.dir.path().to_string_lossy().into_owned();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let number = entry.file_name().to_string_lossy().into_owned();
            if read("comm").starts_with("containerd-shim") && read("cmdline").contains(&dir) {
                // a shim, and the first process of its container
                let children = read(&format!("task/{number}/children"));
                for pid in children.split(' ').chain([&*number]) {
                    if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                        kill_process(pid, Signal::KILL).ok();
                    }
                }
            }
        }
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let below =
            mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&dir));
        for mount in below.collect::<Vec<_>>().into_iter().rev() {
            drop(Command::new("umount").args(["-l", mount]).output());
        }
    }

    /// The pid of its containerd, if that is alive.
    fn containerd(&self) -> Option<Pid> {
        let number = std::fs::read_to_string(self.file(CONTAINERD_PID)).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", number.trim())).ok()?;
        let is_alive = status.contains("Name:\tcontainerd\n") && !status.contains("State:\tZ");
        Pid::from_raw(number.trim().parse().ok()?).filter(|_| is_alive)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        drop(self.signal(Signal::CONT));
        if self.child.is_none() {
            drop(self.up());
        }
        let host = self.host();
        let containers = Engine::docker_at(Some(&host), &["ps", "-aq"]).unwrap_or_default();
        let remove: Vec<_> = ["rm", "-f"].into_iter().chain(containers.lines()).collect();
        drop(Engine::docker_at(Some(&host), &remove));
        drop(self.terminate());
        // a containerd that was not dockerd's own child
        if let Some(pid) = self.containerd() {
            kill_process(pid, Signal::TERM).ok();
        }
        self.remove_leftovers();
    }
}
