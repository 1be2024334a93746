//! `mgx down`: end the server of this data directory, and wait until it has ended.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::background::running_server;
use crate::cli::out::{self, Failure, Outcome};
use crate::config::Config;
use crate::data_dir::{self, Holder};

/// How long the server may take to end, beyond twice `server.drain`.
const EXTRA_DRAIN: Duration = Duration::from_secs(20);

/// How often it is looked whether the server has ended.
const END_POLL: Duration = Duration::from_millis(20);

/// Ends the server.
pub(crate) async fn run(config: &Config) -> Outcome {
    let Some(Holder { pid, .. }) = running_server(config)? else {
        out::line("not up");
        return Ok(ExitCode::SUCCESS);
    };
    data_dir::terminate(pid)
        .map_err(|error| Failure::new(format!("cannot stop process {pid}: {error}; run this as its user")))?;
    let began = Instant::now();
    while running_server(config)?.is_some_and(|holder| holder.pid == pid) {
        if began.elapsed() > 2 * config.server.drain.duration() + EXTRA_DRAIN {
            return Err(Failure::new(format!(
                "process {pid} does not end; look at its log, then `kill -9 {pid}`"
            )));
        }
        sleep(END_POLL).await;
    }
    out::line(format_args!("stopped (process {pid}); what runs in containers goes on"));
    Ok(ExitCode::SUCCESS)
}
