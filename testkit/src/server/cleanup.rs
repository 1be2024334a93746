//! Removes what a server leaves behind when it is dropped: its process, containers, mounts and child processes.
#![expect(clippy::print_stderr, reason = "a failed test shows the server's log")]

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::Server;
use crate::Engine;

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}", self.log());
        }
        Engine::remove_all_with_mounts_under(self.dir.path());
        unmount_all_under(self.dir.path());
        kill_slots_under(self.dir.path());
    }
}

/// Unmounts the workspaces that a pool has mounted, then the mount that they are below.
fn unmount_all_under(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let below: Vec<_> = points.filter(|point| Path::new(point).starts_with(dir)).collect();
    for point in below.into_iter().rev() {
        drop(Command::new("umount").args(["--lazy", point]).output());
    }
}

/// Kills what the runtime `process` has left: every process whose environment names a slot under `dir`.
fn kill_slots_under(dir: &Path) {
    let prefix = format!("MGX_SLOT_DIR={}/", dir.display());
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(prefix.as_bytes()))
            && let Some(pid) = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?))
        {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}
