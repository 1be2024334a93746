//! `mgx bench`: how long a start takes, beside the engine's own floor, and on which runtime how long; how fast the queue
//! is by itself, and how fair; what a server holds in memory. Each can be measured in turns with something else.

mod beside;
mod dispatch;
mod duel;
mod fairness;
mod ingest;
mod memory;
mod resident;
mod server;
mod slots;
mod sse;
mod start;
mod trial;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use mgx_protocol::JobId;

use super::out::{self, Failure, Outcome};
use super::up;
use crate::config::{Config, Secret, Time};

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// From POST to the first event of an agent on the stream; and from the agent's end to the end on the stream.
    Start(start::Args),
    /// The same jobs at the same times on several runtimes, beside each other.
    Duel(duel::Args),
    /// How many jobs a second come in and end, and how long each waits, when running them costs nothing.
    Dispatch(dispatch::Args),
    /// How long nine users wait while a tenth floods the queue, beside how long they wait without it.
    Fairness(fairness::Args),
    /// What a server holds in memory while many jobs run and many more wait.
    Memory(memory::Args),
    /// How long an event takes from a container to a thousand readers, and how fast a log is read again.
    Sse(sse::Args),
    /// How many events a second are stored, from runners that say more than that.
    Ingest(ingest::Args),
}

/// Measures.
pub(crate) fn run(config: Config, command: &Command) -> Outcome {
    let runtime = up::serving_runtime()?;
    let measured = match command {
        Command::Start(args) => runtime.block_on(Box::pin(start::run(config, args))),
        Command::Duel(args) => runtime.block_on(Box::pin(duel::run(config, args))),
        Command::Dispatch(args) => runtime.block_on(Box::pin(dispatch::run(config, args))),
        Command::Fairness(args) => runtime.block_on(Box::pin(fairness::run(config, args))),
        Command::Memory(args) => runtime.block_on(Box::pin(memory::run(config, args))),
        Command::Sse(args) => runtime.block_on(Box::pin(sse::run(&config, args))),
        Command::Ingest(args) => runtime.block_on(Box::pin(ingest::run(&config, args))),
    };
    measured.map_err(|error| Failure::new(format!("{error:#}")))
}

/// Prints figures: for people, or on one line for programs.
fn print(report: &serde_json::Value, json: bool) {
    out::line(if json { report.to_string() } else { format!("{report:#}") });
}

/// The nearest-rank percentile, to a tenth.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().map_or(0.0, tenths)
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A directory for one run, gone when it is over.
struct Scratch(PathBuf);

fn scratch() -> anyhow::Result<Scratch> {
    let dir = std::env::temp_dir().join(format!("mgx-bench-{}", std::process::id()));
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&dir)?;
    Ok(Scratch(dir))
}

/// The configuration, with a port and files of its own.
fn scratch_config(config: Config, scratch: &Scratch) -> Config {
    apart(config, scratch.0.join("data"))
}

/// The configuration, with a port of its own and its files in `data`.
fn apart(mut config: Config, data: PathBuf) -> Config {
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.data_dir = data;
    // on a MongoDB server, a database of its own
    config.store.database = database();
    config.store.path = config.server.data_dir.join("mgx.db");
    config.workspaces.root = config.server.data_dir.join("workspaces");
    config.workspaces.host_root.clone_from(&config.workspaces.root);
    // The model is not what is measured, and must not cost anything.
    (config.llm.base_url, config.llm.api_key) = (String::new(), Secret::new(""));
    config.llm.demo_pace = Time::shortest();
    config
}

/// The name of a database for one run.
fn database() -> String {
    format!("mgx_bench_{}", JobId::new())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            out::note(format_args!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        let shown = |samples: &[f64]| format!("{} {}", percentile(samples, 50), percentile(samples, 99));
        assert_eq!(shown(&samples), "50 99");
        assert_eq!(shown(&[3.04]), "3 3");
        assert_eq!(shown(&[1.0, 30.0, 2.0]), "2 30");
        assert_eq!(shown(&[]), "0 0");
    }
}
