//! The moment between fork and exec: `mgx-agent-runner exec WORKDIR PROGRAM ARGUMENT…` becomes the command.
//!
//! It is started with one end of a socket as its stdin. If the command cannot be executed it writes the reason
//! there; the socket closes by itself when it can.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// How much rather the kernel kills a command than its runner when memory runs out (proc(5), `oom_score_adj`).
const OOM_SCORE: &str = "500";

/// The exit code of a command that could not be executed, as shells have it.
const NOT_EXECUTED: u8 = 127;

/// Becomes the command; returns only if that is impossible.
pub(crate) fn exec(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(workdir), Some(program)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(NOT_EXECUTED);
    };
    // the copy closes on exec; stdin itself is replaced
    let report = io::stdin().as_fd().try_clone_to_owned();
    let error = become_command(&workdir, &program, arguments);
    if let Ok(report) = report {
        // nobody to tell if this fails
        File::from(report).write_all(error.as_bytes()).ok();
    }
    ExitCode::from(NOT_EXECUTED)
}

fn become_command(
    workdir: &OsString,
    program: &OsString,
    arguments: impl Iterator<Item = OsString>,
) -> String {
    // a session of its own: one signal reaches all its processes
    if let Err(error) = rustix::process::setsid() {
        return format!("cannot start a session: {error}");
    }
    // without it the kernel might choose the runner first; but a container without /proc still runs
    std::fs::write("/proc/self/oom_score_adj", OOM_SCORE).ok();
    if let Err(error) = std::env::set_current_dir(workdir) {
        return format!("cannot enter {}: {error}", workdir.display());
    }
    let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    format!("cannot execute {}: {error}", program.display())
}
