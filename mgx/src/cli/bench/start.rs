//! `mgx bench start`: how long a start takes, beside the engine's own floor, measured in turns in one run.

mod burst;
mod floor;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mgx_runtimes::Pool;
use mgx_runtimes::pool::report::{Percentiles, Report};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::beside::{self, Beside};
use super::resident::{Resident, mib};
use super::slots::Memory;
use super::trial::{Trial, Work};
use super::{ms, out, percentile, scratch, scratch_config, tenths};
use crate::config::Config;
use crate::serve::Serving;
use floor::Floor;

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many times.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    n: u16,
    /// What each job does.
    #[arg(long, value_enum, default_value_t = Work::Team, conflicts_with = "burst")]
    work: Work,
    /// Measures so many jobs that come at once instead, beside what the engine does by itself.
    #[arg(long, value_name = "JOBS", num_args = 0..=1, default_missing_value = "100", conflicts_with = "n")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    burst: Option<u32>,
    /// How many containers wait when the burst comes, if the runtime is a pool.
    #[arg(long, default_value_t = 10, requires = "burst", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pool: u16,
    /// One JSON object, nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    beside: Beside,
}

/// Measures.
pub(super) async fn run(config: Config, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(jobs) = args.burst {
        let once = async || burst::measure(config.clone(), jobs, args.pool).await;
        args.beside.measure(args.json, once).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = config.runtime.name();
    let samples = start(config.clone(), args).await?;
    let mut report = samples.report(runtime);
    let again = async || Ok(start(config.clone(), args).await?.report(runtime));
    args.beside.compare(&mut report, again).await?;
    if args.json {
        out::line(report);
    } else {
        samples.show(runtime);
        beside::lines(&report).into_iter().for_each(out::line);
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(config: Config, args: &Args) -> anyhow::Result<Samples> {
    let dir = scratch()?;
    let config = scratch_config(config, &dir);
    serve(config.clone(), async |serving: Served| {
        let floor = Floor::new(&config, &serving.instance)?;
        let trial = Trial::new(&config, serving.address, args.work)?;
        measure(&config, &floor, &trial, serving.pool.as_deref(), args).await
    })
    .await
}

/// A platform that serves.
struct Served {
    address: std::net::SocketAddr,
    instance: String,
    pool: Option<std::sync::Arc<Pool>>,
}

/// Serves while `measure` measures. A pool is dissolved afterwards.
async fn serve<T>(
    config: Config,
    measure: impl AsyncFnOnce(Served) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let serving = Serving::start(config).await?;
    serving.leading().await;
    let pool = serving.pool();
    let served =
        Served { address: serving.address(), instance: serving.instance().to_owned(), pool: pool.clone() };
    let shutdown = CancellationToken::new();
    let measuring = async {
        let measured = measure(served).await;
        shutdown.cancel();
        measured
    };
    let (ended, measured) = tokio::join!(serving.until(shutdown.clone()), measuring);
    if let Some(pool) = pool {
        pool.dissolve().await;
    }
    let measured = measured?;
    ended?;
    Ok(measured)
}

async fn measure(
    config: &Config,
    floor: &Floor,
    trial: &Trial,
    pool: Option<&Pool>,
    args: &Args,
) -> anyhow::Result<Samples> {
    floor.quiet(pool).await?;
    let idle = Idle::measure(config, pool).await?;
    let session = async |round: u32| trial.session(&format!("bench-{}-{round}", std::process::id())).await;
    // The first of each pays for what all others find warm.
    trial.once(&session(0).await?).await?;
    floor.quiet(pool).await?;
    floor.once(0).await?;
    let mut samples = Samples::of(idle);
    for round in 1..=u32::from(args.n) {
        let session = session(round).await?;
        let seen = trial.once(&session).await?;
        trial.until_final(seen.job).await?;
        samples.done.push(Instant::now().duration_since(seen.began));
        samples.tti.push(seen.tti()?);
        samples.finish.push(seen.ending.unwrap_or_default());
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

/// What is held in memory while nothing happens, in MiB.
#[derive(Clone, Copy, Debug)]
struct Idle {
    /// The server, which is this very process.
    server: f64,
    /// Containers that wait, and what the engine keeps for each.
    waiting: f64,
}

impl Idle {
    async fn measure(config: &Config, pool: Option<&Pool>) -> anyhow::Result<Self> {
        let server = mib(Resident::of(std::process::id())?.now);
        let parked: usize = pool.iter().flat_map(|pool| pool.report()).map(|pool| pool.parked).sum();
        if parked == 0 {
            return Ok(Self { server, waiting: 0.0 });
        }
        let each = Memory::measure(config).await?.map_or(f64::NAN, Memory::mib);
        Ok(Self { server, waiting: tenths(each * f64::from(u32::try_from(parked)?)) })
    }

    fn report(self) -> Value {
        json!({ "server": self.server, "waiting": self.waiting, "all": tenths(self.server + self.waiting) })
    }
}

#[derive(Debug)]
struct Samples {
    idle: Idle,
    /// What the pool says of itself, if there is one.
    pool: Option<Report>,
    tti: Vec<Duration>,
    floor: Vec<Duration>,
    finish: Vec<Duration>,
    done: Vec<Duration>,
}

impl Samples {
    fn of(idle: Idle) -> Self {
        let none = Vec::new;
        Self { idle, pool: None, tti: none(), floor: none(), finish: none(), done: none() }
    }

    /// What each start cost beyond the floor that was measured right after it.
    fn overhead(&self) -> Vec<f64> {
        self.tti.iter().zip(&self.floor).map(|(tti, floor)| ms(*tti) - ms(*floor)).collect()
    }

    fn rows(&self) -> [(&'static str, Vec<f64>); 5] {
        let all = |samples: &[Duration]| samples.iter().copied().map(ms).collect();
        [
            ("tti_ms", all(&self.tti)),
            ("engine_floor_ms", all(&self.floor)),
            ("overhead_ms", self.overhead()),
            ("finish_ms", all(&self.finish)),
            ("done_ms", all(&self.done)),
        ]
    }

    fn report(&self, runtime: &str) -> Value {
        let mut report = json!({ "runtime": runtime, "n": self.tti.len(), "idle_mib": self.idle.report() });
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
        let Idle { server, waiting } = self.idle;
        out::line(format_args!(
            "{:<16} {:>8.1}, of which containers that wait {waiting:.1}",
            "idle_mib",
            server + waiting
        ));
    }
}
