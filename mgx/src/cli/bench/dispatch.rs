//! `mgx bench dispatch`: how fast jobs come in, run and end when running them costs nothing: the queue alone.
//!
//! The server is the real one, with its real store, which syncs; only the runtime does nothing. Client and server are
//! one process, so they share the processors; they speak over the loopback device.

mod latency;
mod load;
mod wire;

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use mgx_runtimes::Null;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Scratch, out, scratch, scratch_config};
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

/// How long the program of `--beside` may take.
const BESIDE: Duration = Duration::from_mins(10);

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
    /// A program to run afterwards on the same machine; the last line it prints is a JSON object, whose
    /// `end_to_end_per_s` is compared with ours.
    #[arg(long, value_name = "COMMAND")]
    beside: Option<String>,
}

/// What was measured.
#[derive(Debug)]
struct Figures {
    http_submits_per_s: f64,
    end_to_end_per_s: f64,
    batch_submits_per_s: f64,
    empty: Latency,
    full: Latency,
}

/// Measures.
pub(super) async fn run(config: Config, args: &Args) -> anyhow::Result<ExitCode> {
    let scratch = scratch()?;
    let figures = serve(dispatching(config, &scratch), args).await?;
    drop(scratch);
    let mut report = figures.report();
    if let Some(command) = &args.beside {
        out::note(format_args!("beside: {command}"));
        let beside = beside(command).await?;
        let theirs = beside["end_to_end_per_s"].as_f64().context("it reports no end_to_end_per_s")?;
        report["beside"] = beside;
        report["times_beside"] = json!((figures.end_to_end_per_s / theirs * 10.0).round() / 10.0);
    }
    if args.json {
        out::line(report);
    } else {
        out::line(format_args!("{report:#}"));
    }
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

async fn serve(config: Config, args: &Args) -> anyhow::Result<Figures> {
    let (witness, invoked) = mpsc::channel(WITNESSED);
    let serving = Serving::start_on(config.clone(), Some(Arc::new(Null::watched(witness)))).await?;
    let address = serving.address();
    let token = data_dir::admin_token(&config.server.data_dir)?;
    let shutdown = CancellationToken::new();
    let measuring = async {
        let measured = async { measure(Load::start(address, token, invoked).await?, args).await }.await;
        shutdown.cancel();
        measured
    };
    let (served, measured) = tokio::join!(serving.until(shutdown.clone()), measuring);
    let figures = measured?;
    served?;
    Ok(figures)
}

async fn measure(mut load: Load, args: &Args) -> anyhow::Result<Figures> {
    load.run(args.n / 10).await.context("the warm-up")?;

    let end_to_end_per_s = load.run(args.n).await.context("end to end")?;
    out::note(format_args!("end to end               {end_to_end_per_s:>9.0} jobs/s"));

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

    let full = load.latency().await.context("a full queue")?;
    out::note(format_args!("to dispatch, full queue  {full}"));
    Ok(Figures { http_submits_per_s, end_to_end_per_s, batch_submits_per_s, empty, full })
}

impl Figures {
    fn report(&self) -> Value {
        json!({
            "http_submits_per_s": self.http_submits_per_s.round(),
            "end_to_end_per_s": self.end_to_end_per_s.round(),
            "batch_submits_per_s": self.batch_submits_per_s.round(),
            "enqueue_to_dispatch_ms": self.empty.report(),
            "at_1m_queued": self.full.report(),
        })
    }
}

/// Runs `command` and reads the last line that it prints.
async fn beside(command: &str) -> anyhow::Result<Value> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = tokio::time::timeout(BESIDE, shell.output()).await.context("it took too long")??;
    ensure!(output.status.success(), "{command} ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.trim_end().lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("{command} printed {last:?} last, not a JSON object"))
}
