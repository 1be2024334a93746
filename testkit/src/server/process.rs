//! A server's process: started, waited for, sent signals, killed.

use std::fs::File;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::Server;
use crate::Engine;
use crate::client::http;

/// How long a server may take to become ready: long, because other tests may keep the machine busy.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a server may take to exit after SIGTERM.
const EXIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two looks at a process.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

impl Server {
    /// Starts the process again after its end, on the same port and directory, and waits until it is ready.
    ///
    /// # Errors
    /// The process does not become ready.
    pub async fn up(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_until_ready().await
    }

    /// Starts the process again, and does not wait.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        self.log_length_at_start = self.log().len();
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = self.command(&["up"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("cannot start the server")?);
        Ok(())
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// The process ends, or is not ready in time.
    pub async fn wait_until_ready(&mut self) -> Result<()> {
        self.wait_until_ok("/readyz").await
    }

    /// Waits until `/healthz` answers 200: the process serves, ready or not.
    ///
    /// # Errors
    /// The process ends, or does not answer in time.
    pub async fn wait_until_serving(&mut self) -> Result<()> {
        self.wait_until_ok("/healthz").await
    }

    async fn wait_until_ok(&mut self, path: &str) -> Result<()> {
        let http = http();
        let url = format!("{}{path}", self.url);
        let end = Instant::now() + READY_TIMEOUT;
        while Instant::now() < end {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("the server ended with {status}:\n{}", self.log());
            }
            if http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            sleep(POLL_INTERVAL).await;
        }
        bail!("{path} did not answer 200 in time:\n{}", self.log())
    }

    /// Waits until this process is the one that schedules, of those that share a store.
    ///
    /// # Errors
    /// That takes longer than `timeout`.
    pub async fn wait_until_scheduling(&mut self, timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        while !self.is_scheduling() {
            ensure!(Instant::now() < end, "the server does not schedule:\n{}", self.log());
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Whether this process runs, and has become the one that schedules since its last start.
    #[must_use]
    pub fn is_scheduling(&self) -> bool {
        let log = self.log();
        self.child.is_some()
            && log.get(self.log_length_at_start..).is_some_and(|log| log.contains("this process schedules"))
    }

    /// Waits until the warm pool has an idle container, if the engine has a pool.
    ///
    /// # Errors
    /// The pool has none in time.
    pub async fn wait_until_pool_has_one(&self) -> Result<()> {
        let end = Instant::now() + READY_TIMEOUT;
        while Engine::has_pool() {
            let (_, pools) = self.client().get("/api/pools").await?;
            if pools["pools"][0]["parked"].as_u64() > Some(0) {
                break;
            }
            ensure!(Instant::now() < end, "the pool stays empty: {pools}");
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// The exit status, if the process has ended.
    ///
    /// # Errors
    /// The process was not started.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.as_mut().context("the server is not running")?.try_wait()?)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// The process is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Sends the process a signal.
    ///
    /// # Errors
    /// The process is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("the server is not running")?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// Sends SIGTERM and waits for the exit.
    ///
    /// # Errors
    /// The process is not running, fails, or does not exit in time.
    pub fn terminate(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        let end = Instant::now() + EXIT_TIMEOUT;
        while Instant::now() < end {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}:\n{}", self.log());
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        child.kill()?;
        bail!("the server did not exit on SIGTERM:\n{}", self.log())
    }
}
