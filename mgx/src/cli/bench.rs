//! `mgx bench`: how long a start takes, beside the engine's own floor, measured in turns in one run; how fast the
//! queue is by itself, and how fair; and what a server holds in memory.

mod dispatch;
mod fairness;
mod floor;
mod memory;
mod trial;

use std::process::ExitCode;
use std::time::Duration;

use mgx_runtimes::Pool;
use mgx_runtimes::pool::report::{Percentiles, Report};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::out::{self, Failure, Outcome};
use super::up;
use crate::config::{Config, Secret, Time};
use crate::serve::Serving;
use floor::Floor;
use trial::Trial;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// From POST to the first event of an agent on the stream; and from the agent's end to the end on the stream.
    Start(Args),
    /// How many jobs a second come in and end, and how long each waits, when running them costs nothing.
    Dispatch(dispatch::Args),
    /// How long nine users wait while a tenth floods the queue, beside how long they wait without it.
    Fairness(fairness::Args),
    /// What a server holds in memory while many jobs run and many more wait.
    Memory(memory::Args),
}

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many times.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    n: u16,
    /// One JSON object, nothing else.
    #[arg(long)]
    json: bool,
}

/// Measures.
pub(crate) fn run(config: Config, command: &Command) -> Outcome {
    let runtime = up::serving_runtime()?;
    let measured = match command {
        Command::Start(args) => runtime.block_on(Box::pin(start(config, args))),
        Command::Dispatch(args) => runtime.block_on(Box::pin(dispatch::run(config, args))),
        Command::Fairness(args) => runtime.block_on(Box::pin(fairness::run(config, args))),
        Command::Memory(args) => runtime.block_on(Box::pin(memory::run(config, args))),
    };
    measured.map_err(|error| Failure::new(format!("{error:#}")))
}

async fn start(config: Config, args: &Args) -> anyhow::Result<ExitCode> {
    let dir = scratch()?;
    let config = scratch_config(config, &dir);
    let runtime = config.runtime.name();
    let serving = Serving::start(config.clone()).await?;
    serving.leading().await;
    let (address, pool) = (serving.address(), serving.pool());
    let floor = Floor::new(&config, serving.instance())?;
    let shutdown = CancellationToken::new();
    let measuring = async {
        let measured = measure(&config, &floor, address, pool.as_deref(), args).await;
        shutdown.cancel();
        measured
    };
    let (served, measured) = tokio::join!(serving.until(shutdown.clone()), measuring);
    if let Some(pool) = pool {
        pool.dissolve().await;
    }
    let samples = measured?;
    served?;
    let report = samples.report(runtime);
    if args.json {
        out::line(report);
    } else {
        samples.show(runtime);
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    config: &Config,
    floor: &Floor,
    address: std::net::SocketAddr,
    pool: Option<&Pool>,
    args: &Args,
) -> anyhow::Result<Samples> {
    let trial = Trial::new(config, address)?;
    // The first of each pays for what all others find warm.
    floor.quiet(pool).await?;
    trial.once(0).await?;
    floor.quiet(pool).await?;
    floor.once(0).await?;
    let mut samples = Samples::default();
    for round in 1..=u32::from(args.n) {
        let (tti, finish) = trial.once(round).await?;
        samples.tti.push(tti);
        samples.finish.push(finish);
        // What the platform clears away after the end must not slow the floor down.
        floor.quiet(pool).await?;
        samples.floor.push(floor.once(round).await?);
        if !args.json {
            out::note(format_args!("{round}/{}", args.n));
        }
    }
    samples.pool = pool.and_then(|pool| pool.report().into_iter().max_by_key(|pool| pool.hits + pool.misses));
    Ok(samples)
}

#[derive(Debug, Default)]
struct Samples {
    /// What the pool says of itself, if there is one.
    pool: Option<Report>,
    tti: Vec<Duration>,
    floor: Vec<Duration>,
    finish: Vec<Duration>,
}

impl Samples {
    /// What each start cost beyond the floor that was measured right after it.
    fn overhead(&self) -> Vec<f64> {
        self.tti.iter().zip(&self.floor).map(|(tti, floor)| ms(*tti) - ms(*floor)).collect()
    }

    fn rows(&self) -> [(&'static str, Vec<f64>); 4] {
        let all = |samples: &[Duration]| samples.iter().copied().map(ms).collect();
        [
            ("tti_ms", all(&self.tti)),
            ("engine_floor_ms", all(&self.floor)),
            ("overhead_ms", self.overhead()),
            ("finish_ms", all(&self.finish)),
        ]
    }

    fn report(&self, runtime: &str) -> Value {
        let mut report = json!({ "runtime": runtime, "n": self.tti.len() });
        for (name, samples) in self.rows() {
            report[name] = json!({ "p50": percentile(&samples, 50), "p99": percentile(&samples, 99) });
        }
        if let Some(pool) = &self.pool {
            report["claim_ms"] = json!({ "p50": pool.claim_ms.p50, "p99": pool.claim_ms.p99 });
            report["hit_rate"] = json!(pool.hit_rate());
        }
        report
    }

    fn show(&self, runtime: &str) {
        out::line(format_args!("{runtime}, {} starts        p50       p99", self.tti.len()));
        for (name, samples) in self.rows() {
            out::line(format_args!(
                "{name:<16} {:>8.1} {:>9.1}",
                percentile(&samples, 50),
                percentile(&samples, 99)
            ));
        }
        if let Some(pool) = &self.pool {
            let Percentiles { p50, p99 } = pool.claim_ms;
            out::line(format_args!("{:<16} {p50:>8.1} {p99:>9.1}", "claim_ms"));
            let rate = pool.hit_rate().unwrap_or_default();
            out::line(format_args!("{:<16} {rate:>8.3}", "hit_rate"));
        }
    }
}

/// The nearest-rank percentile, to a tenth.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |value| (value * 10.0).round() / 10.0)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A directory for one run, gone when it is over.
struct Scratch(std::path::PathBuf);

fn scratch() -> anyhow::Result<Scratch> {
    let dir = std::env::temp_dir().join(format!("mgx-bench-{}", std::process::id()));
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&dir)?;
    Ok(Scratch(dir))
}

/// The configuration, with a port and files of its own.
fn scratch_config(mut config: Config, scratch: &Scratch) -> Config {
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.data_dir = scratch.0.join("data");
    // on a MongoDB server, a database of this run's own
    config.store.database = format!("mgx_bench_{}", std::process::id());
    config.store.path = config.server.data_dir.join("mgx.db");
    config.workspaces.root = config.server.data_dir.join("workspaces");
    config.workspaces.host_root.clone_from(&config.workspaces.root);
    // The model is not what is measured, and must not cost anything.
    (config.llm.base_url, config.llm.api_key) = (String::new(), Secret::new(""));
    config.llm.demo_pace = Time::shortest();
    config
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
