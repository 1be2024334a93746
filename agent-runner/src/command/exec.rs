//! `mgx-agent-runner exec WORKDIR PROGRAM ARGUMENT…`: what runs between fork(2) and exec(2), and becomes the command.
//!
//! Its stdin is one end of a socket. If the command cannot be executed, the reason is written there; otherwise exec(2)
//! closes the socket.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// Added to the command's score when the kernel looks for a process to kill for want of memory (proc(5),
/// `oom_score_adj`), so that it chooses the command before the runner.
const OOM_SCORE_ADJ: &str = "500";

/// The exit code of a command that could not be executed, as in POSIX shells.
const NOT_EXECUTED: u8 = 127;

/// Becomes the command; returns only if that is impossible.
pub(crate) fn exec(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(workdir), Some(program)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(NOT_EXECUTED);
    };
    // the copy is closed by exec(2), and stdin itself is replaced
    let report = io::stdin().as_fd().try_clone_to_owned();
    let error = become_command(&workdir, &program, arguments);
    if let Ok(report) = report {
        // if this fails, the exit code alone has to do
        File::from(report).write_all(error.as_bytes()).ok();
    }
    ExitCode::from(NOT_EXECUTED)
}

fn become_command(
    workdir: &OsString,
    program: &OsString,
    arguments: impl Iterator<Item = OsString>,
) -> String {
    // a session of its own, so that one signal reaches all its processes
    if let Err(error) = rustix::process::setsid() {
        return format!("cannot start a session: {error}");
    }
    // a container without /proc can run without it
    std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ).ok();
    if let Err(error) = std::env::set_current_dir(workdir) {
        return format!("cannot enter {}: {error}", workdir.display());
    }
    let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    format!("cannot execute {}: {error}", program.display())
}
