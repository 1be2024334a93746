//! A provider that is away in the middle of a role: the job waits without a slot and goes on, and no turn is paid twice, also
//! when the platform is killed meanwhile.

use std::time::Duration;

use anyhow::{Result, ensure};
use mgx_testkit::{MongoServer, Server};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::case::{Answer, Step};
use crate::provider::Provider;
use crate::settings;

/// How many turns the engineer has.
const TURNS: usize = 4;

/// How many requests are refused in mid-role before the provider is there again.
const REFUSED: usize = 8;

fn reply(steps: Vec<Step>, finish: &str) -> Answer {
    let end = [Step::Finish(finish.to_owned()), Step::Done];
    Answer { steps: steps.into_iter().chain(end).collect(), ..Answer::default() }
}

/// The turns are told apart by how many results the request holds.
fn answer(body: &Value, earlier: &[Value]) -> Answer {
    if body["model"] == "router" {
        return reply(vec![Step::Text(r#"{"roles": ["engineer"]}"#.to_owned())], "stop");
    }
    let turn = turn_of(body);
    let asked = earlier.iter().filter(|other| other["model"] != "router" && turn_of(other) == turn).count();
    if turn == 2 && asked < REFUSED {
        let body = Some(json!({ "error": { "message": "Loading model", "code": 503 } }));
        return Answer { status: "503 Service Unavailable".to_owned(), body, ..Answer::default() };
    }
    if turn == TURNS {
        return reply(vec![Step::Text("All is written.".to_owned())], "stop");
    }
    reply(vec![Step::Write(format!("part{turn}.tsx"))], "tool_calls")
}

fn turn_of(body: &Value) -> usize {
    body["messages"].as_array().map_or(0, |all| all.iter().filter(|one| one["role"] == "tool").count())
}

/// How often each turn was answered by the provider.
fn answered(provider: &Provider) -> Vec<usize> {
    let requests = provider.all_requests("");
    let asked = |turn| requests.iter().filter(|one| one["model"] != "router" && turn_of(one) == turn).count();
    (0..=TURNS).map(|turn| if turn == 2 { asked(turn) - REFUSED } else { asked(turn) }).collect()
}

/// Runs a job through the outage; `kills`: the platform is killed so often while the job waits.
async fn through_an_outage(kills: usize) -> Result<()> {
    let provider = Provider::scripted(answer).await?;
    let more = "scheduler.max_running = 1\nllm.hold = \"200ms\"\nllm.max_outage = \"5m\"";
    let mut server = Server::start(&settings(&provider, more), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = client.submit(&session, &json!({ "prompt": "four parts" })).await?;
    wait_for(&server, &job, "queued", "provider").await?;
    // the one slot is free meanwhile
    let other = client.session("nextjs").await?;
    let between = client.submit(&other, &json!({ "command": ["true"] })).await?;
    client.until_finish(&other).await?;
    ensure!(client.job(&between).await?["state"] == "succeeded");
    for _ in 0..kills {
        server.kill()?;
        server.up().await?;
        wait_for(&server, &job, "queued", "provider").await?;
    }
    let client = server.client();
    let frames = client.until_finish(&session).await?;
    let job = client.job(&job).await?;
    ensure!(job["state"] == "succeeded", "{job}");
    ensure!(answered(&provider) == [1; TURNS + 1], "{:?}", answered(&provider));
    ensure!(frames.iter().any(|frame| frame.event == "provider_wait"));
    conversation_is_whole(&server, &session).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_at_work_waits_for_the_platform_in_the_same_attempt() -> Result<()> {
    let provider = Provider::scripted(|body, _| {
        let turn = turn_of(body);
        if body["model"] == "router" {
            reply(vec![Step::Text(r#"{"roles": ["engineer"]}"#.to_owned())], "stop")
        } else if turn == TURNS {
            reply(vec![Step::Text("All is written.".to_owned())], "stop")
        } else {
            reply(vec![Step::Pause(200), Step::Write(format!("part{turn}.tsx"))], "tool_calls")
        }
    })
    .await?;
    // the platform is away for longer than an agent would wait for its provider
    let mut server = Server::start(&settings(&provider, "llm.hold = \"500ms\""), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = client.submit(&session, &json!({ "prompt": "four parts" })).await?;
    client.follow(&session, 0, |frame| frame.event == "tool_end").await?;
    server.kill()?;
    sleep(Duration::from_secs(5)).await;
    server.up().await?;
    server.client().until_finish(&session).await?;
    let job = server.client().job(&job).await?;
    ensure!(job["state"] == "succeeded" && job["attempt"] == 1, "{job}");
    conversation_is_whole(&server, &session).await
}

/// Each message is there once, in order: the prompt, the router, and each turn with its result.
async fn conversation_is_whole(server: &Server, session: &str) -> Result<()> {
    let (_, page) = server.client().get(&format!("/api/sessions/{session}/messages?limit=500")).await?;
    let messages = page["messages"].as_array().cloned().unwrap_or_default();
    let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap_or_default()).collect();
    let mut expected = vec!["user", "assistant"];
    for _ in 0..TURNS {
        expected.extend(["assistant", "tool"]);
    }
    expected.push("assistant");
    ensure!(roles == expected, "{roles:?}");
    let numbers: Vec<_> = messages.iter().map(|message| message["seq"].as_u64()).collect();
    ensure!(numbers.is_sorted(), "{numbers:?}");
    Ok(())
}

async fn wait_for(server: &Server, job: &str, state: &str, waits_for: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let (_, why) = server.client().get(&format!("/api/jobs/{job}/explain")).await?;
        if why["state"] == state && why["waits_for"] == waits_for {
            ensure!(
                why["provider"]["reason"].as_str().is_some_and(|reason| reason.contains("Loading model")),
                "{why}"
            );
            return Ok(());
        }
        ensure!(Instant::now() < end, "the job does not wait: {why}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_its_provider_without_a_slot_and_pays_no_turn_twice() -> Result<()> {
    through_an_outage(0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_killed_during_the_wait_changes_nothing() -> Result<()> {
    through_an_outage(2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_killed_between_messages_stores_each_once() -> Result<()> {
    killed_between_messages("").await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_whose_store_is_mongodb() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let store = MongoServer::start(dir.path())?;
    killed_between_messages(&format!("store.url = \"{}\"", store.url())).await
}

/// Kills the platform after each number of messages, while the engineer waits for its provider or runs a tool.
async fn killed_between_messages(more: &str) -> Result<()> {
    let provider = Provider::scripted(|body, _| {
        let turn = turn_of(body);
        if body["model"] == "router" {
            reply(vec![Step::Text(r#"{"roles": ["engineer"]}"#.to_owned())], "stop")
        } else if turn == TURNS {
            reply(vec![Step::Pause(200), Step::Text("All is written.".to_owned())], "stop")
        } else {
            reply(vec![Step::Pause(100), Step::Write(format!("part{turn}.tsx"))], "tool_calls")
        }
    })
    .await?;
    let mut server = Server::start(&settings(&provider, more), &[]).await?;
    for kill_at in 1..=2 * TURNS {
        submits(&server).await?;
        let client = server.client();
        let session = client.session("nextjs").await?;
        let job = client.submit(&session, &json!({ "prompt": "four parts" })).await?;
        let (mut seen, mut has_ended) = (0, false);
        client
            .follow(&session, 0, |frame| {
                seen += usize::from(frame.event == "message_complete");
                has_ended |= frame.event == "finish";
                seen > kill_at || has_ended
            })
            .await?;
        ensure!(!has_ended, "the job had ended before message {kill_at}");
        server.kill()?;
        server.up().await?;
        submits(&server).await?;
        server.client().until_finish(&session).await?;
        let job = server.client().job(&job).await?;
        ensure!(job["state"] == "succeeded", "killed at message {kill_at}: {job}");
        conversation_is_whole(&server, &session).await?;
    }
    Ok(())
}

/// Waits until the server schedules: with a shared store it waits for the lease of the process that was killed.
async fn submits(server: &Server) -> Result<()> {
    let end = Instant::now() + Duration::from_mins(1);
    while server.client().get("/readyz").await?.1["status"] != "ready" {
        ensure!(Instant::now() < end, "the server does not schedule");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
