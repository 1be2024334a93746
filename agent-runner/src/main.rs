//! The agent-runner: PID 1 of every container, a static binary that needs nothing else in the image.
//!
//! ```text
//! mgx-agent-runner              waits for its invocation on the runner link, and runs it
//! mgx-agent-runner exec …       between fork(2) and exec(2): becomes the command
//! mgx-agent-runner team         the agent team, which is the command of an invocation that names none
//! mgx-agent-runner hold         in a container of the platform's own: makes network namespaces for jobs' containers
//! ```

mod run;

mod command;
mod link;
mod namespace_holder;
mod output;
mod team;

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::runtime::Builder;

/// The exit code for wrong arguments (`EX_USAGE` of sysexits(3)).
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().map(|argument| argument.to_string_lossy().into_owned()).as_deref() {
        None => finish(block_on(run::run())),
        Some("exec") => command::exec::exec(arguments),
        Some("hold") => finish(namespace_holder::hold()),
        Some("team") => match block_on(team::run()) {
            Ok(true) => ExitCode::SUCCESS,
            // the team has reported why
            Ok(false) => ExitCode::FAILURE,
            Err(error) => finish(Err(error)),
        },
        Some("--version") => {
            let version = concat!("mgx-agent-runner ", env!("CARGO_PKG_VERSION"));
            finish(writeln!(io::stdout(), "{version}"))
        }
        Some(_) => {
            writeln!(
                io::stderr(),
                "usage: mgx-agent-runner [exec WORKDIR PROGRAM ARGUMENT… | team | hold | --version]"
            )
            .ok();
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Runs `task` on one thread: PID 1 waits for sockets and children, and computes nothing.
fn block_on<T>(task: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    Builder::new_current_thread().enable_all().build()?.block_on(task)
}

fn finish(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // a closed stderr leaves no other place for the error
            writeln!(io::stderr(), "mgx-agent-runner: {error}").ok();
            ExitCode::FAILURE
        }
    }
}
