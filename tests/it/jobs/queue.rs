//! The queue by the public API: idempotency keys, also across `kill -9`; batches; timelines; explanations.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mgx_testkit::{Client, Server};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::jobs::session::{busybox_with, settings};

/// A runtime without containers: these tests are about the queue.
fn null() -> String {
    format!("{}\nruntime = \"null\"\nqueue.max_queued = 5000", settings())
}

/// An answer to a POST with an `Idempotency-Key`.
#[derive(Debug)]
struct Answer {
    status: u16,
    replayed: bool,
    location: Option<String>,
    body: Value,
}

async fn post(client: &Client, path: &str, key: &str, body: &Value) -> reqwest::Result<Answer> {
    let request = client.request(Method::POST, path).header("Idempotency-Key", key).json(body);
    let answer = request.send().await?;
    let header = |name: &str| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
    let (replayed, location) = (header("idempotency-replayed").is_some(), header("location"));
    Ok(Answer { status: answer.status().as_u16(), replayed, location, body: answer.json().await? })
}

/// All jobs of a session, by page.
async fn jobs(client: &Client, session: &str) -> Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/sessions/{session}/jobs?limit=200{cursor}");
        let (status, mut page) = client.get(&path).await?;
        ensure!(status == 200, "{page}");
        all.append(page["jobs"].as_array_mut().context("no page")?);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

#[tokio::test]
async fn a_request_with_a_key_is_done_once() -> Result<()> {
    let mut server = Server::start(&null(), &[]).await?;
    let client = server.client();
    let body = json!({ "framework": "nextjs", "prompt": "Create a landing page" });
    let first = post(&client, "/api/sessions", "one", &body).await?;
    ensure!(first.status == 201 && !first.replayed, "{first:?}");
    let session = first.body["session_id"].as_str().context("no session")?.to_owned();
    client.until_finish(&session).await?;

    let path = format!("/api/sessions/{session}/jobs");
    let key = format!("\"{}\"", Uuid::now_v7());
    let job = json!({ "prompt": "Create another" });
    let submitted = post(&client, &path, &key, &job).await?;
    ensure!(submitted.status == 202, "{submitted:?}");
    server.kill()?;
    server.up().await?;
    for (path, key, body, first) in
        [("/api/sessions", "one", &body, &first), (&*path, &*key, &job, &submitted)]
    {
        let again = post(&client, path, key, body).await?;
        ensure!(again.replayed, "the answer outlives the process: {again:?}");
        assert_eq!((again.status, &again.location), (first.status, &first.location));
        assert_eq!(again.body, first.body);
        let other = post(&client, path, key, &json!({ "prompt": "Something else" })).await?;
        assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency-mismatch")));
    }
    assert_eq!(jobs(&client, &session).await?.len(), 2);
    let (_, sessions) = client.get("/api/sessions").await?;
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_9_makes_a_second_job_of_one_key() -> Result<()> {
    let (accepted, stored) = submit_while_the_server_is_killed(true).await?;
    assert_eq!(stored.len(), accepted.len(), "one job for each key, and no other");
    for job in &stored {
        let name = job["prompt"].as_str().context("no prompt")?;
        assert_eq!(accepted.get(name).map(String::as_str), job["job_id"].as_str());
    }
    Ok(())
}

/// The red control: the same clients without keys show that the kills strike between the work and the answer.
#[tokio::test(flavor = "multi_thread")]
async fn without_keys_kill_9_makes_second_jobs() -> Result<()> {
    let (accepted, stored) = submit_while_the_server_is_killed(false).await?;
    assert!(stored.len() > accepted.len(), "{} jobs of {} requests", stored.len(), accepted.len());
    Ok(())
}

/// Clients that repeat every request without an answer, and a platform that is killed again and again. The accepted jobs
/// by their names, and the stored jobs.
async fn submit_while_the_server_is_killed(keyed: bool) -> Result<(HashMap<String, String>, Vec<Value>)> {
    const CLIENTS: usize = 8;
    const KILLS: usize = 12;
    let mut server = Server::start(&null(), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(submit_repeatedly(client.clone(), session.clone(), keyed, stopped.clone()));
    }
    for kill in 0..KILLS {
        // at moments that do not coincide with the requests
        tokio::time::sleep(Duration::from_millis(60 + (kill as u64 * 37) % 190)).await;
        server.kill()?;
        server.up().await?;
    }
    stop.send(true)?;
    let (mut accepted, mut lost) = (HashMap::new(), 0);
    while let Some(done) = clients.join_next().await {
        let (mine, failed) = done??;
        accepted.extend(mine);
        lost += failed;
    }
    assert!(accepted.len() >= CLIENTS * 2 && lost > KILLS, "busy, and disturbed: {} {lost}", accepted.len());
    let stored = jobs(&client, &session).await?;
    Ok((accepted, stored))
}

/// One client: submits one job after the other, each until it is accepted. Its jobs, and how many answers were lost.
async fn submit_repeatedly(
    client: Client,
    session: String,
    keyed: bool,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> Result<(HashMap<String, String>, usize)> {
    let path = format!("/api/sessions/{session}/jobs");
    let (mut accepted, mut lost) = (HashMap::new(), 0_usize);
    while !*stopped.borrow() {
        let name = Uuid::now_v7().to_string();
        let job = json!({ "prompt": name });
        let answer = loop {
            let key = if keyed { name.clone() } else { Uuid::now_v7().to_string() };
            match post(&client, &path, &key, &job).await {
                Ok(answer) if answer.status == 202 => break answer,
                // no server: an impatient client repeats the request at once
                Err(_) => {
                    lost += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok(answer) if matches!(answer.status, 429 | 503) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(answer) => anyhow::bail!("{answer:?}"),
            }
        };
        let id = answer.body["job_id"].as_str().context("no job")?.to_owned();
        ensure!(answer.location == Some(format!("/api/jobs/{id}")), "{answer:?}");
        if keyed && let Ok(again) = post(&client, &path, &name, &job).await {
            ensure!(
                again.replayed && again.body == answer.body,
                "every answer is one that was kept: {again:?}"
            );
        }
        accepted.insert(name, id);
    }
    Ok((accepted, lost))
}

#[tokio::test]
async fn a_thousand_jobs_in_one_request() -> Result<()> {
    let server = Server::start(&null(), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let path = format!("/api/sessions/{session}/jobs:batch");
    let mut batch: Vec<_> = (0..1000).map(|number| json!({ "prompt": format!("number {number}") })).collect();
    batch[17] = json!({ "prompt": "x", "timeout_s": 0 });
    let answer = post(&client, &path, "batch", &json!({ "jobs": batch })).await?;
    assert_eq!((answer.status, &answer.body["accepted"]), (202, &json!(999)));
    let results = answer.body["results"].as_array().context("no results")?;
    assert_eq!(results[17]["problem"]["errors"][0]["pointer"], "/timeout_s");
    let again = post(&client, &path, "batch", &json!({ "jobs": batch })).await?;
    assert!(again.replayed && again.body == answer.body);

    let stored = jobs(&client, &session).await?;
    assert_eq!(stored.len(), 999, "each accepted one, once");
    let by_id: HashMap<_, _> = stored.iter().map(|job| (job["job_id"].as_str(), job)).collect();
    for (number, result) in results.iter().enumerate().filter(|(number, _)| *number != 17) {
        let job = by_id.get(&result["job_id"].as_str()).with_context(|| format!("no job for {result}"))?;
        assert_eq!(
            job["prompt"],
            json!(format!("number {number}")),
            "results stand in the order of the request"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_timeline_shows_where_the_time_went() -> Result<()> {
    let server = busybox_with("").await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    // many events before it, which the timeline must not have to read
    let noise = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done";
    let noise = client.submit(&session, &json!({ "command": ["/bin/busybox", "sh", "-c", noise] })).await?;
    client.until_finish(&session).await?;
    let script = json!({ "command": ["/bin/busybox", "sh", "-c", "echo one; sleep 1; echo two"] });
    let job = client.submit(&session, &script).await?;
    client
        .follow(&session, 3000, |frame| frame.event == "finish" && frame.data["job_id"] == json!(job))
        .await?;
    let (_, before) = client.get(&format!("/api/jobs/{noise}/timeline")).await?;
    assert_eq!(before["attempts"][0]["stages"].as_array().map(Vec::len), Some(7), "{before}");
    let (status, timeline) = client.get(&format!("/api/jobs/{job}/timeline")).await?;
    assert_eq!(status, 200, "{timeline}");
    let stages = timeline["attempts"][0]["stages"].as_array().context("no stages")?;
    let names: Vec<_> = stages.iter().filter_map(|stage| stage["stage"].as_str()).collect();
    assert_eq!(names, ["queued", "admitted", "starting", "running", "first_event", "last_event", "finish"]);
    let at = |name: &str| stages.iter().find(|stage| stage["stage"] == name).map(|s| s["start_ms"].as_u64());
    let between = at("last_event").flatten() > at("first_event").flatten().map(|first| first + 900);
    assert!(between, "the second that it slept: {timeline}");
    for pair in stages.windows(2) {
        assert_eq!(pair[0]["end_ms"], pair[1]["start_ms"], "without holes");
    }

    let shown = server.command(&["timeline", &job]).output()?;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && text.contains("succeeded") && text.contains("first event"), "{text}");
    assert!(
        text.lines().any(|line| line.contains("starting") && line.contains('▏') || line.contains('█')),
        "{text}"
    );
    let json = server.command(&["timeline", &job, "--json"]).output()?;
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout)?, timeline);
    let unknown = server.command(&["timeline", &Uuid::nil().to_string()]).output()?;
    assert_eq!(unknown.status.code(), Some(1));
    Ok(())
}

#[tokio::test]
async fn an_explanation_names_the_job_that_holds_the_slot() -> Result<()> {
    let server = busybox_with("scheduler.max_running = 1\nagent.grace = \"1s\"").await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let sleep = json!({ "command": ["/bin/busybox", "sh", "-c", "echo up; sleep 600"] });
    let running = client.submit(&session, &sleep).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    let waiting = client.submit(&session, &sleep).await?;
    let last = client.submit(&session, &sleep).await?;
    for job in [&waiting, &last] {
        // a job gets its position a moment after it was accepted
        let end = Instant::now() + Duration::from_secs(10);
        while client.job(job).await?["position"].is_null() {
            ensure!(Instant::now() < end, "the job never got a position");
        }
    }

    let (status, why) = client.get(&format!("/api/jobs/{waiting}/explain")).await?;
    assert_eq!(
        (status.as_u16(), &why["waits_for"], &why["position"]),
        (200, &json!("limit"), &json!(1)),
        "{why}"
    );
    assert_eq!(why["binding"]["holders"][0]["job_id"], json!(running), "{why}");
    assert!(why["binding"]["holders"][0]["deadline_at"].is_string(), "{why}");
    let (_, why) = client.get(&format!("/api/jobs/{last}/explain")).await?;
    assert_eq!((&why["waits_for"], &why["position"]), (&json!("turn"), &json!(2)), "{why}");

    let shown = server.command(&["explain", &waiting]).output()?;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && text.contains("position  1"), "{text}");
    assert!(text.contains(&format!("held by   {running}")) && text.contains("remedy    cancel"), "{text}");

    // the remedy helps
    let (status, _) = client.post(&format!("/api/jobs/{running}/cancel"), &json!({})).await?;
    assert_eq!(status, 202);
    client
        .follow(&session, 0, |frame| frame.event == "log" && frame.data["job_id"] == json!(waiting))
        .await?;
    let (_, why) = client.get(&format!("/api/jobs/{waiting}/explain")).await?;
    assert_eq!(why["waits_for"], "command", "{why}");
    Ok(())
}
