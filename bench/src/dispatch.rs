//! `mgx bench dispatch`: how fast jobs are accepted, run and ended while running them costs nothing.
//!
//! The server and its store are the real ones, and the store syncs; only the runtime does nothing. Client and server are
//! one process, so they share the processors; they communicate over the loopback device.

mod disk;
mod load;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use mgx_runtimes::Null;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::host::NULL;
use crate::shared::comparison::Comparison;
use crate::shared::output;
use crate::shared::scratch::Scratch;
use crate::shared::statistics::Latencies;
use crate::{Host, Overrides, Platform, RuntimeDecorator};
use load::Load;

/// Jobs that run at a time.
const SLOTS: u64 = 64;

/// Jobs that may wait: the million of the full queue, and those that are measured in addition.
const MAX_QUEUED: u64 = 1_200_000;

/// Invocations that may wait to be recorded.
const MAX_UNRECORDED: usize = 1 << 16;

/// Options of `mgx bench dispatch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many jobs each rate is measured with.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    n: u32,
    /// How many jobs wait in the full queue.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    backlog: u32,
    /// One JSON object, nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    comparison: Comparison,
}

/// The figures.
#[derive(Debug)]
struct Figures {
    fsync: Latencies,
    http_submits_per_s: f64,
    end_to_end_per_s: f64,
    batch_submits_per_s: f64,
    empty: Latencies,
    full: Latencies,
}

/// Measures.
pub(crate) async fn run(host: &dyn Host, args: &Args) -> anyhow::Result<ExitCode> {
    let figures = {
        let scratch = Scratch::make()?;
        let directory = scratch.path().to_owned();
        let fsync = tokio::task::spawn_blocking(move || disk::measure_syncs(&directory)).await?;
        let fsync = fsync.context("cannot measure the disk")?;
        output::note(format_args!("a sync of the disk       {fsync}"));
        serve(host, &scratch, async |load| measure(load, fsync, args).await).await?
    };
    let mut report = figures.report();
    let again = async || {
        let scratch = Scratch::make()?;
        let measure = async |mut load: Load| end_to_end(&mut load, args).await;
        let end_to_end_per_s = serve(host, &scratch, measure).await?;
        Ok(json!({ "end_to_end_per_s": end_to_end_per_s.round() }))
    };
    args.comparison.compare(&mut report, again).await?;
    output::report(&report, args.json);
    Ok(ExitCode::SUCCESS)
}

/// Serves while `measure` runs.
async fn serve<T>(
    host: &dyn Host,
    scratch: &Scratch,
    measure: impl AsyncFnOnce(Load) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let overrides = Overrides {
        runtime: Some(NULL),
        max_running: Some(SLOTS),
        max_queued: Some(MAX_QUEUED),
        is_rate_unlimited: true,
        ..Overrides::in_dir(scratch.path().join("data"))
    };
    let (invoked, invocations) = mpsc::channel(MAX_UNRECORDED);
    let decorator: RuntimeDecorator = Box::new(move |_, _| Arc::new(Null::watched(invoked.clone())));
    Platform::serve(host, &overrides, Some(decorator), async |platform| {
        measure(Load::start(platform.address, &platform.token, invocations).await?).await
    })
    .await
}

/// Jobs a second on a server that is warm.
async fn end_to_end(load: &mut Load, args: &Args) -> anyhow::Result<f64> {
    load.run(args.n / 10).await.context("the warm-up")?;
    load.run(args.n).await.context("end to end")
}

async fn measure(mut load: Load, fsync: Latencies, args: &Args) -> anyhow::Result<Figures> {
    let end_to_end_per_s = end_to_end(&mut load, args).await?;
    output::note(format_args!("end to end               {end_to_end_per_s:>9.0} jobs/s"));

    disk::until_at_rest().await?;
    let empty = load.latency().await.context("an empty queue")?;
    output::note(format_args!("to dispatch, empty queue {empty}"));

    let held = load.hold(SLOTS, None).await?;
    let http_submits_per_s = load.submit(args.n).await.context("single submits")?;
    output::note(format_args!("single submits           {http_submits_per_s:>9.0} jobs/s"));
    load.release(held).await?;
    load.settle().await?;

    load.hold(1, Some(load::BACKLOG)).await?;
    let batch_submits_per_s = load.fill(args.backlog).await.context("batches")?;
    output::note(format_args!("in batches               {batch_submits_per_s:>9.0} jobs/s"));

    disk::until_at_rest().await?;
    let full = load.latency().await.context("a full queue")?;
    output::note(format_args!("to dispatch, full queue  {full}"));
    Ok(Figures { fsync, http_submits_per_s, end_to_end_per_s, batch_submits_per_s, empty, full })
}

impl Figures {
    fn report(&self) -> Value {
        json!({
            "fsync_ms": self.fsync.report(),
            "http_submits_per_s": self.http_submits_per_s.round(),
            "end_to_end_per_s": self.end_to_end_per_s.round(),
            "batch_submits_per_s": self.batch_submits_per_s.round(),
            "enqueue_to_dispatch_ms": self.empty.report(),
            "at_1m_queued": self.full.report(),
        })
    }
}
