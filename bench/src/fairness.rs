//! `mgx bench fairness`: how long nine users wait while a tenth floods the queue, beside how long they wait without it.
//!
//! The scheduler and the store are the real ones, and the store syncs; the runtime only holds slots. Jobs are submitted
//! without HTTP, where all would belong to one user. Waits are read from the log afterwards.

mod cap_audit;
mod history;
mod testbed;
mod wait_times;
mod workload;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use mgx_scheduler::{Budget, Caps, Kind};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Host;
use crate::shared::comparison::Comparison;
use crate::shared::output;
use crate::shared::scratch::Scratch;
use crate::shared::statistics::hundredths;
use cap_audit::CapAudit;
use testbed::{Recording, Testbed};
use wait_times::WaitTimes;
use workload::{Arrival, SimulatedJob, WorkloadGenerator};

/// Users who submit at a normal rate. The user who floods the queue is the next.
const USERS: usize = 9;

/// The load of the nine users, in percent of what the slots can do.
const LOADS: [u8; 3] = [50, 70, 85];

/// Jobs that each of the nine submits at once on a busy day: more than the slots can do.
const BUSY_DAY_JOBS: u32 = 50;

/// Jobs that are submitted together.
const BATCH: usize = 500;

/// Jobs that each of ten users submits under overload.
const OVERLOAD_JOBS: u32 = 200;

/// How long each of these jobs holds its slot, on average.
const OVERLOAD_HOLD: Duration = Duration::from_millis(10);

/// Options of `mgx bench fairness`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many jobs the tenth user submits at once.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    flood: u32,
    /// For how many seconds the nine submit, at each load, without the flood and with it.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// How many milliseconds a job holds its slot, on average.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    hold_ms: u16,
    /// What chance begins with: the same jobs come at the same times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object, nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    comparison: Comparison,
}

/// The waits of the nine users, without the flood and with it.
#[derive(Debug)]
struct FloodEffect {
    jobs: usize,
    /// How long the jobs of the nine held slots, without the flood.
    held: Duration,
    alone: WaitTimes,
    flooded: WaitTimes,
}

/// Measures.
pub(crate) async fn run(host: &dyn Host, args: &Args) -> anyhow::Result<ExitCode> {
    let mut report = measure(host, args).await?;
    let is_kept = report["violations"] == 0;
    let again = async || {
        let report = measure(host, args).await?;
        ensure!(report["violations"] == 0, "more jobs ran than the caps allow: {report}");
        Ok(report)
    };
    args.comparison.compare(&mut report, again).await?;
    output::report(&report, args.json);
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(host: &dyn Host, args: &Args) -> anyhow::Result<Value> {
    let scratch = Scratch::make()?;
    let caps = host.scheduler_config().caps;
    let mut audit = CapAudit::default();
    let slots = u32::try_from(caps.running)?;
    let hold = Duration::from_millis(args.hold_ms.into());
    let window = Duration::from_secs(args.seconds.into());

    let mut workload = WorkloadGenerator::of(args.seed, hold);
    let at_once = workload.at_once(USERS, BUSY_DAY_JOBS);
    let flood = workload.flood(USERS, args.flood);
    let busy_day = flood_effect(host, scratch.path(), "busy-day", &at_once, &flood, &mut audit);
    let busy_day = busy_day.await.context("on a busy day")?;
    output::note(format_args!("busy day: alone {}, with the flood {}", busy_day.alone, busy_day.flooded));

    let mut loads = Vec::new();
    for load in LOADS {
        // every load has the same jobs
        let mut workload = WorkloadGenerator::of(args.seed, hold);
        let arrivals = workload.arrivals(USERS, hold * 100 / (slots * u32::from(load)), window);
        let flood = workload.flood(USERS, args.flood);
        let effect =
            flood_effect(host, scratch.path(), &load.to_string(), &arrivals, &flood, &mut audit).await;
        let effect = effect.with_context(|| format!("at a load of {load} %"))?;
        output::note(format_args!(
            "load {load} %: alone {}, with the flood {}",
            effect.alone, effect.flooded
        ));
        let mut report = effect.report();
        let busy = effect.held.as_secs_f64() / (window * slots).as_secs_f64();
        report["load"] = json!(f64::from(load) / 100.0);
        report["busy"] = json!(hundredths(busy));
        loads.push(report);
    }
    let overload = overload(host, scratch.path(), args.seed).await.context("ten users at once")?;
    audit.add(&overload.audit);
    let report = json!({
        "slots": caps.running,
        "user_jobs": caps.per_user,
        "hold_ms": args.hold_ms,
        "users": USERS,
        "flood": args.flood,
        "busy_day": busy_day.report(),
        "loads": loads,
        "crowd": overload.report(),
        "samples": audit.samples,
        "violations": audit.violations,
    });
    Ok(report)
}

async fn flood_effect(
    host: &dyn Host,
    directory: &Path,
    name: &str,
    arrivals: &[Arrival],
    flood: &[SimulatedJob],
    audit: &mut CapAudit,
) -> anyhow::Result<FloodEffect> {
    let caps = host.scheduler_config().caps;
    let dir = |run: &str| directory.join(format!("{run}-{name}"));
    let without =
        submit_and_record(Testbed::open(host, caps.clone(), &dir("alone")).await?, arrivals, &[]).await?;
    let with = submit_and_record(Testbed::open(host, caps, &dir("flood")).await?, arrivals, flood).await?;
    let the_nine = |recording: &Recording| WaitTimes::of(&recording.history.waits(|job| job.user < USERS));
    audit.add(&without.audit);
    audit.add(&with.audit);
    Ok(FloodEffect {
        jobs: arrivals.len(),
        held: without.history.held(),
        alone: the_nine(&without),
        flooded: the_nine(&with),
    })
}

/// Submits each arrival when it is due, whether or not jobs before it have begun; and the whole flood at once.
async fn submit_and_record(
    testbed: Testbed,
    arrivals: &[Arrival],
    flood: &[SimulatedJob],
) -> anyhow::Result<Recording> {
    let begin = Instant::now();
    let mut submitting = JoinSet::new();
    for batch in flood.chunks(BATCH) {
        let (testbed, batch) = (testbed.clone(), batch.to_vec());
        submitting.spawn(async move { testbed.submit(&batch).await });
    }
    for arrival in arrivals {
        let (testbed, Arrival { at, job }) = (testbed.clone(), *arrival);
        submitting.spawn(async move {
            sleep_until(begin + at).await;
            testbed.submit(&[job]).await
        });
    }
    while let Some(submitted) = submitting.join_next().await {
        submitted??;
    }
    testbed.until_admitted(USERS).await?;
    testbed.close(USERS + 1).await
}

/// What each of ten users gets while all of them submit more than the slots can do.
#[derive(Debug)]
struct Overload {
    caps: Caps,
    /// Admissions of each user while all of them had jobs waiting.
    admissions: Vec<u32>,
    audit: CapAudit,
}

/// Ten users submit jobs of all sizes and kinds to a scheduler whose every cap holds some of them back.
async fn overload(host: &dyn Host, directory: &Path, seed: u64) -> anyhow::Result<Overload> {
    let mut caps = Caps::of(host.scheduler_config().caps.running);
    let portion = |of: usize, parts: usize| of.div_ceil(parts);
    caps.per_user = portion(caps.running, 3);
    caps.per_kind = [(Kind::Dev, portion(caps.running, 2)), (Kind::Build, portion(caps.running, 4))].into();
    let memory = u64::try_from(caps.running)? * workload::MEMORY_BYTES;
    caps.host = Budget { memory_bytes: memory * 3 / 2, ..Budget::UNLIMITED };

    let testbed = Testbed::open(host, caps.clone(), &directory.join("crowd")).await?;
    let mut submitting = JoinSet::new();
    for user in 0..=USERS {
        let testbed = testbed.clone();
        // the same jobs for each user
        let jobs = WorkloadGenerator::of(seed, OVERLOAD_HOLD).mixed(user, OVERLOAD_JOBS);
        submitting.spawn(async move { testbed.submit(&jobs).await });
    }
    while let Some(submitted) = submitting.join_next().await {
        submitted??;
    }
    testbed.until_admitted(USERS + 1).await?;
    let recording = testbed.close(USERS + 1).await?;
    Ok(Overload { caps, admissions: recording.history.admissions(USERS + 1), audit: recording.audit })
}

impl FloodEffect {
    fn report(&self) -> Value {
        let ratio = self.flooded.p95 / self.alone.p95;
        json!({
            "jobs": self.jobs,
            "alone_ms": self.alone.report(),
            "with_flood_ms": self.flooded.report(),
            "p95_ratio": hundredths(ratio),
        })
    }
}

impl Overload {
    fn report(&self) -> Value {
        let peak = self.audit.peak;
        let of_kind = |kind| self.caps.per_kind.get(&kind).copied();
        json!({
            "turns": self.admissions.iter().sum::<u32>(),
            "jain_index": (wait_times::jain(&self.admissions) * 10_000.0).round() / 10_000.0,
            "most_at_a_time": {
                "running": { "seen": peak.running, "cap": self.caps.running },
                "of_one_user": { "seen": peak.of_one_user, "cap": self.caps.per_user },
                "dev": { "seen": peak.dev, "cap": of_kind(Kind::Dev) },
                "build": { "seen": peak.build, "cap": of_kind(Kind::Build) },
                "memory_mib": { "seen": peak.memory_bytes >> 20, "cap": self.caps.host.memory_bytes >> 20 },
            },
        })
    }
}
