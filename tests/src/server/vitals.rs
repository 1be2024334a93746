//! What a server uses of the machine, as the kernel tells.

use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Server;

impl Server {
    /// The most memory that its process has had resident so far, in MiB.
    ///
    /// # Errors
    /// It is not running.
    pub fn peak_mib(&self) -> Result<u64> {
        let pid = self.pid().context("the server is not running")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        Ok(peak.context("no peak")?.trim().parse::<u64>()? / 1024)
    }

    /// How long its process has used a processor so far.
    ///
    /// # Errors
    /// It is not running.
    pub fn busy(&self) -> Result<Duration> {
        let pid = self.pid().context("the server is not running")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // the name before it may have spaces (proc_pid_stat(5)); ticks of 10 ms in user mode and in the kernel
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ')).context("no fields")?;
        let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(10 * ticks))
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}
