//! `mgx bench start --burst`: many jobs at once: how soon each is answered, and how many run a second, beside the rate of
//! the engine without the platform.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use mgx_client::NewJob;
use mgx_runtimes::Pool;
use serde_json::{Value, json};

use super::engine_floor::EngineFloor;
use crate::shared::http_connection::HttpConnection;
use crate::shared::job_client::{JobClient, Workload};
use crate::shared::output;
use crate::shared::scratch::Scratch;
use crate::shared::statistics::{Latencies, hundredths, ms, tenths};
use crate::{Host, Overrides, Platform};

/// How long all jobs may take.
const TIMEOUT: Duration = Duration::from_mins(5);

/// HTTP statuses of the answers.
const OK: u16 = 200;
const CREATED: u16 = 201;
const ACCEPTED: u16 = 202;

/// The outcome of a burst.
#[derive(Debug)]
struct Burst {
    /// From the request to the answer.
    answers: Vec<Duration>,
    /// Jobs that were refused, or did not succeed.
    errors: usize,
    /// Jobs whose answer has their position and ETA, or that need not wait.
    with_eta: usize,
    /// From the first request to the last final state.
    took: Duration,
}

/// A burst of `jobs` while `waiting` containers wait, and the rate of the engine before and after.
pub(super) async fn measure(host: &dyn Host, jobs: u32, waiting: u16) -> anyhow::Result<Value> {
    let dir = Scratch::make()?;
    let overrides = Overrides { pool: Some(waiting.into()), ..Overrides::in_dir(dir.path().join("data")) };
    let (runtime, at_once) = (host.settings().runtime, host.scheduler_config().caps.running);
    // the least that a job can do, since the engine's own containers do nothing
    let job = Workload::Command.job(host, &overrides);
    Platform::serve(host, &overrides, None, async |platform| {
        let floor = EngineFloor::new(host, &overrides, &platform.instance)?;
        let pool = platform.pool.as_deref();
        floor.until_quiet(pool).await?;
        // the first job warms up what all others use; and from it the platform estimates how long a job takes
        let warm_up = JobClient::new(platform, job.clone())?;
        warm_up.run(&warm_up.make_session("bench-warm-up").await?).await?;
        let engine = async |round: u32| {
            until_at_rest(&floor, pool).await?;
            let rate = floor.rate(round * jobs..(round + 1) * jobs, at_once).await?;
            output::note(format_args!("the engine by itself  {rate:>6.2} containers/s"));
            anyhow::Ok(rate)
        };
        floor.rate(0..u32::try_from(at_once)?, at_once).await?;
        let before = engine(1).await?;
        until_at_rest(&floor, pool).await?;
        let burst = burst(platform, &job, jobs).await?;
        let drain = f64::from(jobs) / burst.took.as_secs_f64();
        output::note(format_args!("{jobs} jobs at once      {drain:>6.2} jobs/s"));
        let alone = f64::midpoint(before, engine(2).await?);
        let Burst { answers, errors, with_eta, took } = burst;
        let answers = Latencies::of(&answers);
        let answer_ms = |percent| tenths(answers.percentile_ms(percent));
        Ok(json!({
            "runtime": runtime,
            "jobs": jobs,
            "pool": pool.map(|_| waiting),
            "slots": at_once,
            "errors": errors,
            "told": with_eta,
            "answer_ms": {
                "p50": answer_ms(50.0), "p99": answer_ms(99.0), "max": answer_ms(100.0),
            },
            "all_ms": ms(took).round(),
            "drain_per_s": hundredths(drain),
            "engine_per_s": hundredths(alone),
            "of_engine": hundredths(drain / alone),
        }))
    })
    .await
}

/// Waits until neither the engine nor the disk has anything left to do: what was written for a hundred containers must
/// not delay the first write after them.
async fn until_at_rest(floor: &EngineFloor, pool: Option<&Pool>) -> anyhow::Result<()> {
    floor.until_quiet(pool).await?;
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    Ok(())
}

async fn burst(platform: &Platform, job: &NewJob, jobs: u32) -> anyhow::Result<Burst> {
    let mut clients = Vec::new();
    for number in 0..jobs {
        let mut connection = HttpConnection::connect(platform.address, &platform.token).await?;
        let session = format!("burst-{number}");
        let body = json!({ "session_id": session, "framework": "nextjs" }).to_string();
        let making = connection.post("/api/sessions", body.as_bytes());
        connection.send::<Value>(&making, CREATED).await?;
        clients.push((connection, session));
    }
    let job = serde_json::to_string(job)?;
    let began = Instant::now();
    let submitting = clients.iter_mut().map(|(connection, session)| {
        let request = connection.post(&format!("/api/sessions/{session}/jobs"), job.as_bytes());
        async move {
            let answer = connection.send::<Value>(&request, ACCEPTED).await;
            (answer, began.elapsed())
        }
    });
    let answers = join_all(submitting).await;
    let mut burst = Burst { answers: Vec::new(), errors: 0, with_eta: 0, took: Duration::ZERO };
    let mut accepted = Vec::new();
    for (answer, took) in answers {
        burst.answers.push(took);
        match answer {
            Ok(job) => {
                let waits = job["state"] == "queued";
                let has_eta = job["position"].is_u64() && job["eta_ms"].is_u64();
                burst.with_eta += usize::from(!waits || has_eta);
                accepted.push(job["job_id"].as_str().context("an answer without id")?.to_owned());
            }
            Err(error) => {
                output::note(format_args!("{error:#}"));
                burst.errors += 1;
            }
        }
    }
    let connection = &mut clients.first_mut().context("there are no clients")?.0;
    for job in accepted {
        let looking = connection.get(&format!("/api/jobs/{job}"));
        let ended = loop {
            let job = connection.send::<Value>(&looking, OK).await?;
            if !job["ended_at"].is_null() {
                break job;
            }
            ensure!(began.elapsed() < TIMEOUT, "the job {job} does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        if ended["state"] != "succeeded" {
            output::note(format_args!("{ended}"));
            burst.errors += 1;
        }
    }
    burst.took = began.elapsed();
    Ok(burst)
}
