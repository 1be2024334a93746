//! What a test may know of a server: its address, token, log, containers, and use of memory and processor.

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Server;
use crate::{Client, Engine};

impl Server {
    /// A client with the admin token.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.url, &self.token().unwrap_or_default())
    }

    /// The admin token.
    ///
    /// # Errors
    /// The server was never started.
    pub fn token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.data_dir().join("admin.token"))?.trim().to_owned())
    }

    /// The base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The log so far, of every start.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.config.with_extension("log")
    }

    /// The pid of the process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The name of the container of a session's running job. A container of the pool has no label with the session;
    /// the pool's claims say which it is.
    ///
    /// # Errors
    /// The job has no container.
    pub fn container_of(&self, session: &str, job: &str) -> Result<String> {
        if let Some(name) = Engine::containers_of(session)?.pop() {
            return Ok(name);
        }
        let claims = std::fs::read_dir(self.data_dir().join("pool/claims")).context("no pool")?;
        let job = job.replace('-', "");
        let claim = claims.flatten().find(|claim| claim.file_name().to_string_lossy().starts_with(&job));
        let claim = std::fs::read(claim.context("the job has no container in the pool")?.path())?;
        let claim: serde_json::Value = serde_json::from_slice(&claim)?;
        Ok(format!("mgx-{}", claim["slot"].as_str().context("a claim without a slot")?))
    }

    /// The most memory that the process has had resident so far, in MiB.
    ///
    /// # Errors
    /// The process is not running.
    pub fn peak_memory_mib(&self) -> Result<u64> {
        let pid = self.pid().context("the server is not running")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        Ok(peak.context("no VmHWM")?.trim().parse::<u64>()? / 1024)
    }

    /// The processor time that the process has used so far.
    ///
    /// # Errors
    /// The process is not running.
    pub fn cpu_time(&self) -> Result<Duration> {
        let pid = self.pid().context("the server is not running")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // the name before it may have spaces (proc_pid_stat(5)); ticks of 10 ms in user mode and in the kernel
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ')).context("no fields")?;
        let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(10 * ticks))
    }
}
