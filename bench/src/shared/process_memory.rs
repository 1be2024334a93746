//! How much of a process is in memory, as the Linux kernel reports it (`proc_pid_status(5)`).

use std::fmt;

use anyhow::Context;
use serde_json::{Value, json};

/// Bytes of a process in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMemory {
    /// Now (`VmRSS`).
    pub(crate) now: u64,
    /// The maximum so far (`VmHWM`).
    pub(crate) peak: u64,
}

impl ProcessMemory {
    /// Of the process `id`.
    pub(crate) fn of(id: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{id}/status");
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&status).with_context(|| format!("{path} has no VmRSS and VmHWM"))
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        Some(Self { now: bytes("VmRSS")?, peak: bytes("VmHWM")? })
    }

    pub(crate) fn report(self) -> Value {
        json!({ "now": mib(self.now), "peak": mib(self.peak) })
    }
}

impl fmt::Display for ProcessMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB, {} MiB at the most", mib(self.now), mib(self.peak))
    }
}

/// MiB, to a tenth.
pub(crate) fn mib(bytes: u64) -> f64 {
    let tenths = u32::try_from((bytes * 10) >> 20).unwrap_or(u32::MAX);
    f64::from(tenths) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_report_is_parsed() {
        let status = "Name:\tmgx\nVmPeak:\t  999999 kB\nVmHWM:\t   20480 kB\nVmRSS:\t   10342 kB\n";
        let memory = ProcessMemory::parse(status).unwrap();
        assert_eq!(memory, ProcessMemory { now: 10_342 * 1024, peak: 20 << 20 });
        assert_eq!(memory.to_string(), "10 MiB, 20 MiB at the most");
        assert_eq!(ProcessMemory::parse("Name:\tkthreadd\n"), None);
    }
}
