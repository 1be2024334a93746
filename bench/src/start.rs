//! `mgx bench start`: how long the start of a job takes, and the engine's own floor: creating and starting the same
//! container without the platform. The two are measured in turns.

mod burst;
mod engine_floor;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mgx_runtimes::Pool;
use mgx_runtimes::pool::report::{Percentiles, Report};
use serde_json::{Value, json};

use crate::shared::comparison::{self, Comparison};
use crate::shared::container_memory::ContainerMemory;
use crate::shared::job_client::{JobClient, Workload};
use crate::shared::output;
use crate::shared::process_memory::{ProcessMemory, mib};
use crate::shared::scratch::Scratch;
use crate::shared::statistics::{ms, percentile, tenths};
use crate::{Host, Overrides, Platform};
use engine_floor::EngineFloor;

/// Options of `mgx bench start`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many times.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    n: u16,
    /// What each job does.
    #[arg(long, value_enum, default_value_t = Workload::Team, conflicts_with = "burst")]
    work: Workload,
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
    comparison: Comparison,
}

/// Measures.
pub(crate) async fn run(host: &dyn Host, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(jobs) = args.burst {
        let once = async || burst::measure(host, jobs, args.pool).await;
        args.comparison.measure(args.json, once).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = host.settings().runtime;
    let samples = start(host, args).await?;
    let mut report = samples.report(runtime);
    let again = async || Ok(start(host, args).await?.report(runtime));
    args.comparison.compare(&mut report, again).await?;
    if args.json {
        output::line(report);
    } else {
        samples.show(runtime);
        comparison::lines(&report).into_iter().for_each(output::line);
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(host: &dyn Host, args: &Args) -> anyhow::Result<Samples> {
    let dir = Scratch::make()?;
    let overrides = Overrides::in_dir(dir.path().join("data"));
    Platform::serve(host, &overrides, None, async |platform| {
        let floor = EngineFloor::new(host, &overrides, &platform.instance)?;
        let jobs = JobClient::new(platform, args.work.job(host, &overrides))?;
        measure(host, &overrides, &floor, &jobs, platform.pool.as_deref(), args).await
    })
    .await
}

async fn measure(
    host: &dyn Host,
    overrides: &Overrides,
    floor: &EngineFloor,
    jobs: &JobClient,
    pool: Option<&Pool>,
    args: &Args,
) -> anyhow::Result<Samples> {
    floor.until_quiet(pool).await?;
    let idle = IdleMemory::measure(host, overrides, pool).await?;
    let session =
        async |round: u32| jobs.make_session(&format!("bench-{}-{round}", std::process::id())).await;
    // the first of each warms up what all others use
    jobs.run(&session(0).await?).await?;
    floor.until_quiet(pool).await?;
    floor.start_container(0).await?;
    let mut samples = Samples::of(idle);
    for round in 1..=u32::from(args.n) {
        let session = session(round).await?;
        let times = jobs.run(&session).await?;
        jobs.until_final(times.job).await?;
        samples.done.push(Instant::now().duration_since(times.began));
        samples.tti.push(times.tti()?);
        samples.finish.push(times.ending.unwrap_or_default());
        // what the platform removes after the end must not slow the floor down
        floor.until_quiet(pool).await?;
        samples.floor.push(floor.start_container(round).await?);
        if !args.json {
            output::note(format_args!("{round}/{}", args.n));
        }
    }
    samples.pool = pool.and_then(|pool| pool.report().into_iter().max_by_key(|pool| pool.hits + pool.misses));
    Ok(samples)
}

/// Memory while nothing happens, in MiB.
#[derive(Clone, Copy, Debug)]
struct IdleMemory {
    /// The server, which is this process.
    server: f64,
    /// The waiting containers, and what the engine keeps for them.
    waiting: f64,
}

impl IdleMemory {
    async fn measure(host: &dyn Host, overrides: &Overrides, pool: Option<&Pool>) -> anyhow::Result<Self> {
        let server = mib(ProcessMemory::of(std::process::id())?.now);
        let parked: usize = pool.iter().flat_map(|pool| pool.report()).map(|pool| pool.parked).sum();
        if parked == 0 {
            return Ok(Self { server, waiting: 0.0 });
        }
        let each = ContainerMemory::measure(host, overrides).await?.map_or(f64::NAN, ContainerMemory::mib);
        Ok(Self { server, waiting: tenths(each * f64::from(u32::try_from(parked)?)) })
    }

    fn report(self) -> Value {
        json!({ "server": self.server, "waiting": self.waiting, "all": tenths(self.server + self.waiting) })
    }
}

#[derive(Debug)]
struct Samples {
    idle: IdleMemory,
    /// The figures of the warm pool, if there is one.
    pool: Option<Report>,
    tti: Vec<Duration>,
    floor: Vec<Duration>,
    finish: Vec<Duration>,
    done: Vec<Duration>,
}

impl Samples {
    fn of(idle: IdleMemory) -> Self {
        let none = Vec::new;
        Self { idle, pool: None, tti: none(), floor: none(), finish: none(), done: none() }
    }

    /// How much longer each start took than the floor that was measured right after it.
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
        output::line(format_args!("{runtime}, {} starts        p50       p99", self.tti.len()));
        for (name, samples) in self.rows() {
            output::line(format_args!(
                "{name:<16} {:>8.1} {:>9.1}",
                percentile(&samples, 50),
                percentile(&samples, 99)
            ));
        }
        if let Some(pool) = &self.pool {
            let Percentiles { p50, p99 } = pool.claim_ms;
            output::line(format_args!("{:<16} {p50:>8.1} {p99:>9.1}", "claim_ms"));
            let rate = pool.hit_rate().unwrap_or_default();
            output::line(format_args!("{:<16} {rate:>8.3}", "hit_rate"));
        }
        let IdleMemory { server, waiting } = self.idle;
        output::line(format_args!(
            "{:<16} {:>8.1}, of which containers that wait {waiting:.1}",
            "idle_mib",
            server + waiting
        ));
    }
}
