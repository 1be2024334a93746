//! `mgx bench fairness`: how long nine users wait while a tenth floods the queue, beside how long they wait without it.
//!
//! The scheduler and the store are the real ones, and the store syncs; the runtime only holds slots. There is no HTTP,
//! which knows one user. Waits and what ran at a time are read from the journal afterwards.

mod audit;
mod house;
mod orders;
mod waits;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use mgx_scheduler::{Budget, Caps, Kind, Redactor};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::beside::Beside;
use super::{Scratch, out, print, scratch, scratch_config};
use crate::assemble::scheduler_config;
use crate::config::Config;
use audit::Audit;
use house::{House, Told};
use orders::{Arrival, Order, Orders};
use waits::Waits;

/// Users who submit normally. The one who floods is the next.
const USERS: usize = 9;

/// What the nine ask for, in percent of what the slots can do.
const LOADS: [u8; 3] = [50, 70, 85];

/// What each of the nine submits at once on a busy day, when all of them have more to do than the house can bear.
const BUSY_DAY: u32 = 50;

/// Jobs that are submitted together.
const BATCH: usize = 500;

/// What each of ten users submits when all of them have more to do than the house can bear, and how long each holds.
const CROWD: (u32, Duration) = (200, Duration::from_millis(10));

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
    beside: Beside,
}

/// The nine, without the flood and with it.
#[derive(Debug)]
struct Pair {
    jobs: usize,
    /// How long the jobs of the nine held slots, without the flood.
    held: Duration,
    alone: Waits,
    flooded: Waits,
}

/// Measures.
pub(super) async fn run(config: Config, args: &Args) -> anyhow::Result<ExitCode> {
    let mut report = once(config.clone(), args).await?;
    let is_kept = report["violations"] == 0;
    let again = async || {
        let report = once(config.clone(), args).await?;
        ensure!(report["violations"] == 0, "more ran than may: {report}");
        Ok(report)
    };
    args.beside.compare(&mut report, again).await?;
    print(&report, args.json);
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was measured.
async fn once(config: Config, args: &Args) -> anyhow::Result<Value> {
    let scratch = scratch()?;
    let config = scratch_config(config, &scratch);
    let mut audit = Audit::default();
    let slots = u32::try_from(config.scheduler.max_running.count())?;
    let hold = Duration::from_millis(args.hold_ms.into());
    let window = Duration::from_secs(args.seconds.into());

    let mut orders = Orders::of(args.seed, hold);
    let at_once = orders.at_once(USERS, BUSY_DAY);
    let flood = orders.flood(USERS, args.flood);
    let busy_day = pair(&config, &scratch, "busy-day", &at_once, &flood, &mut audit);
    let busy_day = busy_day.await.context("on a busy day")?;
    out::note(format_args!("busy day: alone {}, with the flood {}", busy_day.alone, busy_day.flooded));

    let mut loads = Vec::new();
    for load in LOADS {
        // every load has the same jobs
        let mut orders = Orders::of(args.seed, hold);
        let arrivals = orders.arrivals(USERS, hold * 100 / (slots * u32::from(load)), window);
        let flood = orders.flood(USERS, args.flood);
        let pair = pair(&config, &scratch, &load.to_string(), &arrivals, &flood, &mut audit).await;
        let pair = pair.with_context(|| format!("at a load of {load} %"))?;
        out::note(format_args!("load {load} %: alone {}, with the flood {}", pair.alone, pair.flooded));
        let mut report = pair.report();
        let busy = pair.held.as_secs_f64() / (window * slots).as_secs_f64();
        report["load"] = json!(f64::from(load) / 100.0);
        report["busy"] = json!((busy * 100.0).round() / 100.0);
        loads.push(report);
    }
    let crowd = crowd(&config, &scratch, args.seed).await.context("ten users at once")?;
    audit.add(&crowd.audit);
    let report = json!({
        "slots": config.scheduler.max_running.get(),
        "user_jobs": config.quotas.user_jobs.get(),
        "hold_ms": args.hold_ms,
        "users": USERS,
        "flood": args.flood,
        "busy_day": busy_day.report(),
        "loads": loads,
        "crowd": crowd.report(),
        "samples": audit.samples,
        "violations": audit.violations,
    });
    Ok(report)
}

async fn pair(
    config: &Config,
    scratch: &Scratch,
    name: &str,
    arrivals: &[Arrival],
    flood: &[Order],
    audit: &mut Audit,
) -> anyhow::Result<Pair> {
    let caps = scheduler_config(config, Redactor::default()).caps;
    let dir = |trial: &str| scratch.0.join(format!("{trial}-{name}"));
    let without = trial(House::open(config, caps.clone(), &dir("alone")).await?, arrivals, &[]).await?;
    let with = trial(House::open(config, caps, &dir("flood")).await?, arrivals, flood).await?;
    let the_nine = |told: &Told| Waits::of(&told.story.waits(|order| order.user < USERS));
    audit.add(&without.audit);
    audit.add(&with.audit);
    Ok(Pair {
        jobs: arrivals.len(),
        held: without.story.held(),
        alone: the_nine(&without),
        flooded: the_nine(&with),
    })
}

/// The nine submit when it is time, whether or not what they submitted before has begun; the tenth submits all at once.
async fn trial(house: House, arrivals: &[Arrival], flood: &[Order]) -> anyhow::Result<Told> {
    let begin = Instant::now();
    let mut submitting = JoinSet::new();
    for batch in flood.chunks(BATCH) {
        let (house, batch) = (house.clone(), batch.to_vec());
        submitting.spawn(async move { house.submit(&batch).await });
    }
    for arrival in arrivals {
        let (house, Arrival { at, order }) = (house.clone(), *arrival);
        submitting.spawn(async move {
            sleep_until(begin + at).await;
            house.submit(&[order]).await
        });
    }
    while let Some(submitted) = submitting.join_next().await {
        submitted??;
    }
    house.settled(USERS).await?;
    house.close(USERS + 1).await
}

/// What ten users get who all have more to do than the house can bear.
#[derive(Debug)]
struct Crowd {
    caps: Caps,
    /// Turns of each user while everybody waited for one.
    turns: Vec<u32>,
    audit: Audit,
}

/// Ten users submit jobs of all sizes and kinds to a house whose every cap is in the way of something.
async fn crowd(config: &Config, scratch: &Scratch, seed: u64) -> anyhow::Result<Crowd> {
    let mut caps = Caps::of(config.scheduler.max_running.count());
    let portion = |of: usize, parts: usize| of.div_ceil(parts);
    caps.per_user = portion(caps.running, 3);
    caps.per_kind = [(Kind::Dev, portion(caps.running, 2)), (Kind::Build, portion(caps.running, 4))].into();
    let memory = u64::try_from(caps.running)? * orders::MEMORY;
    caps.host = Budget { memory_bytes: memory * 3 / 2, ..Budget::UNLIMITED };

    let (each, hold) = CROWD;
    let house = House::open(config, caps.clone(), &scratch.0.join("crowd")).await?;
    let mut submitting = JoinSet::new();
    for user in 0..=USERS {
        let house = house.clone();
        // the same jobs for everybody
        let orders = Orders::of(seed, hold).mixed(user, each);
        submitting.spawn(async move { house.submit(&orders).await });
    }
    while let Some(submitted) = submitting.join_next().await {
        submitted??;
    }
    house.settled(USERS + 1).await?;
    let told = house.close(USERS + 1).await?;
    Ok(Crowd { caps, turns: told.story.turns(USERS + 1), audit: told.audit })
}

impl Pair {
    fn report(&self) -> Value {
        let ratio = self.flooded.p95 / self.alone.p95;
        json!({
            "jobs": self.jobs,
            "alone_ms": self.alone.report(),
            "with_flood_ms": self.flooded.report(),
            "p95_ratio": (ratio * 100.0).round() / 100.0,
        })
    }
}

impl Crowd {
    fn report(&self) -> Value {
        let peak = self.audit.peak;
        let of_kind = |kind| self.caps.per_kind.get(&kind).copied();
        json!({
            "turns": self.turns.iter().sum::<u32>(),
            "jain_index": (waits::jain(&self.turns) * 10_000.0).round() / 10_000.0,
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
