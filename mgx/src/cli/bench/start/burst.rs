//! Many jobs at once: how soon each is told its place, and how fast they are worked off, beside what the engine does by
//! itself.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use mgx_runtimes::Pool;
use serde_json::{Value, json};

use super::floor::Floor;
use super::{Served, serve};
use crate::cli::bench::trial::{Trial, Work};
use crate::cli::bench::wire::Wire;
use crate::cli::bench::{ms, out, percentile, scratch, scratch_config};
use crate::config::{Config, Whole};
use crate::data_dir;

/// How long all may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// The statuses of the answers.
const OK: u16 = 200;
const CREATED: u16 = 201;
const ACCEPTED: u16 = 202;

/// What became of a burst.
#[derive(Debug)]
struct Burst {
    /// Milliseconds from the request to the answer.
    answers: Vec<f64>,
    /// Jobs that were refused, or did not succeed.
    errors: usize,
    /// Jobs whose answer says their place and the time until their turn, or that they have it.
    told: usize,
    /// From the first request to the last final state.
    took: Duration,
}

/// A burst of `jobs` where `waiting` containers wait, and the rate of the engine before and after it.
pub(super) async fn measure(config: Config, jobs: u32, waiting: u16) -> anyhow::Result<Value> {
    let dir = scratch()?;
    let mut config = scratch_config(config, &dir);
    config.pool.min = Whole::nearest(waiting.into());
    config.pool.max = Whole::nearest(waiting.into());
    let (runtime, at_once) = (config.runtime.name(), config.scheduler.max_running.count());
    serve(config.clone(), async |served: Served| {
        let (floor, pool) = (Floor::new(&config, &served.instance)?, served.pool.as_deref());
        floor.quiet(pool).await?;
        // The first of each pays for what all others find warm; and from it the platform knows how long a job takes.
        let trial = Trial::new(&config, served.address, Work::Command)?;
        trial.once(&trial.session("bench-warm-up").await?).await?;
        let engine = async |round: u32| {
            rest(&floor, pool).await?;
            let rate = floor.rate(round * jobs..(round + 1) * jobs, at_once).await?;
            out::note(format_args!("the engine by itself  {rate:>6.2} containers/s"));
            anyhow::Ok(rate)
        };
        floor.rate(0..u32::try_from(at_once)?, at_once).await?;
        let before = engine(1).await?;
        rest(&floor, pool).await?;
        let burst = burst(&config, &served, jobs).await?;
        let drain = f64::from(jobs) / burst.took.as_secs_f64();
        out::note(format_args!("{jobs} jobs at once      {drain:>6.2} jobs/s"));
        let alone = f64::midpoint(before, engine(2).await?);
        let Burst { answers, errors, told, took } = burst;
        Ok(json!({
            "runtime": runtime,
            "jobs": jobs,
            "pool": pool.map(|_| waiting),
            "slots": at_once,
            "errors": errors,
            "told": told,
            "answer_ms": {
                "p50": percentile(&answers, 50), "p99": percentile(&answers, 99), "max": percentile(&answers, 100),
            },
            "all_ms": ms(took).round(),
            "drain_per_s": hundredths(drain),
            "engine_per_s": hundredths(alone),
            "of_engine": hundredths(drain / alone),
        }))
    })
    .await
}

/// Waits until the engine has nothing left to do, and the disk neither: what was written for a hundred containers must not
/// hold up the first write that comes after them.
async fn rest(floor: &Floor, pool: Option<&Pool>) -> anyhow::Result<()> {
    floor.quiet(pool).await?;
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    Ok(())
}

async fn burst(config: &Config, served: &Served, jobs: u32) -> anyhow::Result<Burst> {
    let token = data_dir::admin_token(&config.server.data_dir)?;
    let mut clients = Vec::new();
    for number in 0..jobs {
        let mut wire = Wire::connect(served.address, &token).await?;
        let session = format!("burst-{number}");
        let body = json!({ "session_id": session, "framework": "nextjs" }).to_string();
        let making = wire.post("/api/sessions", body.as_bytes());
        wire.ask::<Value>(&making, CREATED).await?;
        clients.push((wire, session));
    }
    // the least that a job can do, since the engine's own containers do nothing
    let order = serde_json::to_string(&Work::Command.order(config))?;
    let began = Instant::now();
    let submitting = clients.iter_mut().map(|(wire, session)| {
        let request = wire.post(&format!("/api/sessions/{session}/jobs"), order.as_bytes());
        async move {
            let answer = wire.ask::<Value>(&request, ACCEPTED).await;
            (answer, began.elapsed())
        }
    });
    let answers = join_all(submitting).await;
    let mut burst = Burst { answers: Vec::new(), errors: 0, told: 0, took: Duration::ZERO };
    let mut accepted = Vec::new();
    for (answer, took) in answers {
        burst.answers.push(ms(took));
        match answer {
            Ok(job) => {
                let waits = job["state"] == "queued";
                let told = job["position"].is_u64() && job["eta_ms"].is_u64();
                burst.told += usize::from(!waits || told);
                accepted.push(job["job_id"].as_str().context("an answer without id")?.to_owned());
            }
            Err(error) => {
                out::note(format_args!("{error:#}"));
                burst.errors += 1;
            }
        }
    }
    let wire = &mut clients.first_mut().context("nobody came")?.0;
    for job in accepted {
        let looking = wire.get(&format!("/api/jobs/{job}"));
        let ended = loop {
            let job = wire.ask::<Value>(&looking, OK).await?;
            if !job["ended_at"].is_null() {
                break job;
            }
            ensure!(began.elapsed() < PATIENCE, "the job {job} does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        if ended["state"] != "succeeded" {
            out::note(format_args!("{ended}"));
            burst.errors += 1;
        }
    }
    burst.took = began.elapsed();
    Ok(burst)
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
