//! `mgx bench dispatch`: how fast jobs come in, run and end when running them costs nothing: the queue alone.
//!
//! The server is the real one, with its real store, which syncs; only the runtime does nothing. Client and server are
//! one process, so they share the processors; they speak over the loopback device.

mod disk;
mod latency;
mod load;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use mgx_runtimes::Null;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::beside::Beside;
use super::{Scratch, out, print, scratch, scratch_config};
use crate::assemble::Lens;
use crate::config::{Config, RuntimeName, Whole};
use crate::data_dir;
use crate::serve::Serving;
use latency::Latency;
use load::Load;

/// Jobs that run at a time.
const SLOTS: u64 = 64;

/// Jobs that may wait: the million, and those that are measured beside it.
const ROOM: u64 = 1_200_000;

/// Invocations that may wait to be noted.
const WITNESSED: usize = 1 << 16;

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
    beside: Beside,
}

/// What was measured.
#[derive(Debug)]
struct Figures {
    fsync: Latency,
    http_submits_per_s: f64,
    end_to_end_per_s: f64,
    batch_submits_per_s: f64,
    empty: Latency,
    full: Latency,
}

/// Measures.
pub(super) async fn run(config: Config, args: &Args) -> anyhow::Result<ExitCode> {
    let figures = {
        let scratch = scratch()?;
        let directory = scratch.0.clone();
        let fsync = tokio::task::spawn_blocking(move || disk::syncs(&directory)).await?;
        let fsync = fsync.context("cannot measure the disk")?;
        out::note(format_args!("a sync of the disk       {fsync}"));
        serve(dispatching(config.clone(), &scratch), async |load| measure(load, fsync, args).await).await?
    };
    let mut report = figures.report();
    let again = async || {
        let scratch = scratch()?;
        let measure = async |mut load: Load| end_to_end(&mut load, args).await;
        let end_to_end_per_s = serve(dispatching(config.clone(), &scratch), measure).await?;
        Ok(json!({ "end_to_end_per_s": end_to_end_per_s.round() }))
    };
    args.beside.compare(&mut report, again).await?;
    print(&report, args.json);
    Ok(ExitCode::SUCCESS)
}

/// The configuration, changed to what is measured here.
fn dispatching(config: Config, scratch: &Scratch) -> Config {
    let mut config = scratch_config(config, scratch);
    config.runtime = RuntimeName::Null;
    config.scheduler.max_running = Whole::nearest(SLOTS);
    config.queue.max_queued = Whole::nearest(ROOM);
    config.rate.per_minute = Whole::nearest(u64::MAX);
    config.rate.burst = Whole::nearest(u64::MAX);
    config
}

/// Serves while `measure` measures.
async fn serve<T>(config: Config, measure: impl AsyncFnOnce(Load) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (witness, invoked) = mpsc::channel(WITNESSED);
    let watched: Lens = Box::new(move |_, _| Arc::new(Null::watched(witness.clone())));
    let serving = Serving::start_through(config.clone(), Some(watched)).await?;
    serving.leading().await;
    let address = serving.address();
    let token = data_dir::admin_token(&config.server.data_dir)?;
    let shutdown = CancellationToken::new();
    let measuring = async {
        let measured = async { measure(Load::start(address, token, invoked).await?).await }.await;
        shutdown.cancel();
        measured
    };
    let (served, measured) = tokio::join!(serving.until(shutdown.clone()), measuring);
    let figures = measured?;
    served?;
    Ok(figures)
}

/// Jobs a second, of a server that is warm.
async fn end_to_end(load: &mut Load, args: &Args) -> anyhow::Result<f64> {
    load.run(args.n / 10).await.context("the warm-up")?;
    load.run(args.n).await.context("end to end")
}

async fn measure(mut load: Load, fsync: Latency, args: &Args) -> anyhow::Result<Figures> {
    let end_to_end_per_s = end_to_end(&mut load, args).await?;
    out::note(format_args!("end to end               {end_to_end_per_s:>9.0} jobs/s"));

    disk::rest().await?;
    let empty = load.latency().await.context("an empty queue")?;
    out::note(format_args!("to dispatch, empty queue {empty}"));

    let held = load.hold(SLOTS, None).await?;
    let http_submits_per_s = load.submit(args.n).await.context("single submits")?;
    out::note(format_args!("single submits           {http_submits_per_s:>9.0} jobs/s"));
    load.release(held).await?;
    load.settle().await?;

    load.hold(1, Some(load::BACKLOG)).await?;
    let batch_submits_per_s = load.fill(args.backlog).await.context("batches")?;
    out::note(format_args!("in batches               {batch_submits_per_s:>9.0} jobs/s"));

    disk::rest().await?;
    let full = load.latency().await.context("a full queue")?;
    out::note(format_args!("to dispatch, full queue  {full}"));
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
