//! The final state of a job is true, on a real engine, whatever happened to the job.
//!
//! `MGX_TRUTH_REPEATS` (1) repeats the table, `MGX_TRUTH_CONTAINERS` (10) says how many containers a restart has to
//! take up within `MGX_TRUTH_WITHIN_MS` (5000: this may be a busy machine and a program that is not optimised), and
//! `MGX_TRUTH_TIMEOUT_S` (6) how long the timed job may run. `just judge truth` demands all that is promised.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use mgx_testkit::{Engine, Server};
use serde_json::{Value, json};

use crate::jobs::session::busybox_with;

/// What is done to a job whose command has printed `up`.
#[derive(Clone, Copy)]
enum Action {
    /// Nothing.
    Nothing,
    /// Cancels it.
    Cancel,
    /// Kills its container, as an operator does, or the kernel when PID 1 takes too much memory.
    Kill,
    /// Removes its container.
    Remove,
}

/// The table: what is asked, what is done to it.
const CASES: [(&str, &str, Action); 13] = [
    ("ends well", "exit 0", Action::Nothing),
    ("exits with 3", "exit 3", Action::Nothing),
    (
        "a child runs out of memory, the command ends well",
        "tail /dev/zero >/dev/null; exit 0",
        Action::Nothing,
    ),
    ("the command runs out of memory", "exec tail /dev/zero", Action::Nothing),
    ("kills itself with SIGKILL", "kill -9 $$", Action::Nothing),
    ("ends by SIGTERM of its own", "kill -15 $$", Action::Nothing),
    ("exits with 137 as if it had been killed", "exit 137", Action::Nothing),
    ("the disk is full", "echo something >/dev/full", Action::Nothing),
    (
        "fills /tmp, which is memory",
        "exec dd if=/dev/zero of=/tmp/full bs=1M count=100000 2>/dev/null",
        Action::Nothing,
    ),
    ("takes too long", "sleep 600", Action::Nothing),
    ("is cancelled", "echo up; sleep 600", Action::Cancel),
    ("its container is killed", "echo up; sleep 600", Action::Kill),
    ("its container is removed", "echo up; sleep 600", Action::Remove),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_job_tells_the_truth() -> Result<()> {
    // no provider answers there, so that the agents have to report a failure
    let more = "agent.memory = \"64MiB\"\nagent.grace = \"1s\"\nscheduler.max_running = 6\nllm.max_outage = \"0s\"\n\
                llm.base_url = \"http://127.0.0.1:9/v1\"\nllm.api_key = \"none\"";
    let server = busybox_with(more).await?;
    for repeat in 1..=number("MGX_TRUTH_REPEATS", 1) {
        let server = &server;
        let commands = CASES.map(|(name, script, action)| {
            let job = json!({ "command": ["/bin/busybox", "sh", "-c", script],
                "timeout_s": if name == "takes too long" { 2 } else { 60 } });
            truth(server, name, job, action)
        });
        let mut lines = try_join_all(commands).await?;
        let absent = json!({ "command": ["/bin/nothing"] });
        lines.push(truth(server, "its program is not there", absent, Action::Nothing).await?);
        let prompt = json!({ "prompt": "Write notes" });
        lines.push(truth(server, "its agents say that they failed", prompt, Action::Nothing).await?);
        lines.push(without_image().await?);
        insta::allow_duplicates! {
            insta::assert_snapshot!(lines.join("\n"));
        }
        ensure!(lines.len() == CASES.len() + 3, "repeat {repeat}");
    }
    Ok(())
}

/// One line of the table: what became of a job.
async fn truth(server: &Server, name: &str, job: Value, action: Action) -> Result<String> {
    let client = server.client();
    let session = client.session("nextjs").await?;
    let id = client.submit(&session, &job).await?;
    match action {
        Action::Nothing => {}
        Action::Cancel | Action::Kill | Action::Remove => {
            client.follow(&session, 0, |frame| frame.event == "log").await?;
            match action {
                Action::Cancel => drop(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await?),
                Action::Kill => drop(Engine::docker(&["kill", &server.container_of(&session, &id)?])?),
                Action::Remove => drop(Engine::docker(&["rm", "-f", &server.container_of(&session, &id)?])?),
                Action::Nothing => {}
            }
        }
    }
    let frames = client.until_finish(&session).await?;
    let finishes: Vec<_> = frames.iter().filter(|frame| frame.event == "finish").collect();
    let job = client.job(&id).await?;
    ensure!(finishes.len() == 1 && finishes[0].data["data"]["state"] == job["state"], "{finishes:?} {job}");
    Ok(line(name, &job))
}

/// A platform that has neither the image nor a runner to build it from.
async fn without_image() -> Result<String> {
    let dir = tempfile::tempdir()?;
    let program = dir.path().join("mgx");
    std::fs::copy(mgx_testkit::server::mgx_program(), &program)?;
    let server = Server::start_program(&program, "agent.image = \"mgx-there-is-none:test\"", &[]).await?;
    let job = json!({ "command": ["/bin/busybox", "true"] });
    truth(&server, "its image is not there", job, Action::Nothing).await
}

fn line(name: &str, job: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let killed = job["exit"]["oom_kills"].as_u64().unwrap_or_default() > 0;
    format!(
        "{name:<50} {:<10} {:<19} code {:<4} signal {:<3} out of memory: {}",
        text(&job["state"]),
        text(&job["reason"]),
        text(&job["exit"]["code"]),
        text(&job["exit"]["signal"]),
        if killed { "yes" } else { "no" }
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_takes_up_every_container_soon_and_ends_none() -> Result<()> {
    let count = number("MGX_TRUTH_CONTAINERS", 10);
    let mut server =
        busybox_with(&format!("scheduler.max_running = {count}\nagent.memory = \"64MiB\"")).await?;
    let client = server.client();
    let job = json!({ "command": ["/bin/busybox", "sh", "-c", "echo up; sleep 600"] });
    let mut jobs = Vec::new();
    for _ in 0..count {
        let session = client.session("nextjs").await?;
        let id = client.submit(&session, &job).await?;
        jobs.push((session, id));
    }
    for (session, _) in &jobs {
        client.follow(session, 0, |frame| frame.event == "log").await?;
    }
    let before = started(&server, &jobs)?;

    server.kill()?;
    let begin = Timestamp::now();
    server.up().await?;
    let mut latest = Duration::ZERO;
    for (session, _) in &jobs {
        let frames = client.follow(session, 0, |frame| frame.event == "job_reattached").await?;
        let at: Timestamp =
            frames.last().and_then(|frame| frame.data["ts"].as_str()).context("a time")?.parse()?;
        latest = latest.max(at.duration_since(begin).try_into()?);
    }
    let within = Duration::from_millis(number("MGX_TRUTH_WITHIN_MS", 5000));
    assert!(latest <= within, "the last of {count} was taken up after {latest:?}");
    assert_eq!(started(&server, &jobs)?, before, "every container still runs, and none was started again");
    let (_, running) = client.get("/api/jobs?state=running&limit=200").await?;
    assert_eq!(running["jobs"].as_array().map(Vec::len), Some(jobs.len()));
    Ok(())
}

/// When the container of each session's job was started; all of them run.
fn started(server: &Server, jobs: &[(String, String)]) -> Result<Vec<(String, Value)>> {
    let of = |(session, job): &(String, String)| {
        let name = server.container_of(session, job)?;
        let state = Engine::inspect(&name)?["State"].clone();
        ensure!(state["Running"] == true, "{name} does not run");
        Ok((name, state["StartedAt"].clone()))
    };
    jobs.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_to_a_quarter_of_a_second_across_a_restart() -> Result<()> {
    let mut server = busybox_with("agent.grace = \"1s\"").await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let seconds = number("MGX_TRUTH_TIMEOUT_S", 6);
    let job =
        json!({ "command": ["/bin/busybox", "sh", "-c", "echo up; exec sleep 600"], "timeout_s": seconds });
    let job = client.submit(&session, &job).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    let half = Instant::now() + Duration::from_secs(seconds) / 2;
    server.kill()?;
    server.up().await?;
    tokio::time::sleep_until(half.into()).await;
    assert_eq!(client.job(&job).await?["state"], "running", "half of its time is left");
    client.until_finish(&session).await?;

    let job = client.job(&job).await?;
    assert_eq!(job["state"], "timed_out", "{job}");
    let at = |key: &str| job[key].as_str().context("a time")?.parse::<Timestamp>().context("a time");
    let late = at("ended_at")?.duration_since(at("deadline_at")?).as_secs_f64();
    assert!(late.abs() <= 0.25, "it ended {late} s after its deadline");
    let ran = at("ended_at")?.duration_since(at("started_at")?).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
    let off = ran - seconds as f64;
    assert!(off.abs() <= 0.25, "it ran {ran} s of {seconds}");
    Ok(())
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
