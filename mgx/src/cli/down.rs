//! `mgx down`: end the server of this data directory, and wait until it has ended.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::out::{self, Failure, Outcome};
use super::up::server;
use crate::config::Config;
use crate::data_dir;

/// How much longer than its own time to drain the server is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends it.
pub(crate) async fn run(config: &Config) -> Outcome {
    let Some(pid) = server(config)? else {
        out::line("not up");
        return Ok(ExitCode::SUCCESS);
    };
    data_dir::terminate(pid)
        .map_err(|error| Failure::new(format!("cannot stop process {pid}: {error}; run this as its user")))?;
    let began = Instant::now();
    while server(config)? == Some(pid) {
        if began.elapsed() > 2 * config.server.drain.duration() + PATIENCE {
            return Err(Failure::new(format!(
                "process {pid} does not end; look at its log, then `kill -9 {pid}`"
            )));
        }
        sleep(Duration::from_millis(20)).await;
    }
    out::line(format_args!("stopped (process {pid}); what runs in containers goes on"));
    Ok(ExitCode::SUCCESS)
}
