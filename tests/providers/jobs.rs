//! What one job does to the next, and what ends a job in mid-stream.

use std::time::Duration;

use anyhow::{Result, ensure};
use mgx_testkit::Server;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::case::{Answer, Step};
use crate::provider::Provider;
use crate::settings;

/// The turns of an expensive job, and the tokens of each: about 1.6 million in all.
const TURNS: usize = 38;
const TOKENS_A_TURN: u64 = 42_000;

fn reply(steps: Vec<Step>, finish: &str) -> Answer {
    let end = [Step::Finish(finish.to_owned()), Step::Done];
    Answer { steps: steps.into_iter().chain(end).collect(), ..Answer::default() }
}

fn to_engineer() -> Answer {
    reply(vec![Step::Text(r#"{"roles": ["engineer"]}"#.to_owned())], "stop")
}

/// The results since the last prompt.
fn turn_of(body: &Value) -> usize {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let prompt = messages.iter().rposition(|message| message["role"] == "user").unwrap_or(0);
    messages[prompt..].iter().filter(|message| message["role"] == "tool").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_expensive_jobs_of_a_session_fit_into_the_default_budgets() -> Result<()> {
    let provider = Provider::scripted(|body, _| {
        if body["model"] == "router" {
            return to_engineer();
        }
        let turn = turn_of(body);
        let usage =
            json!({ "choices": [], "usage": { "prompt_tokens": TOKENS_A_TURN, "completion_tokens": 300 } });
        let (step, finish) = if turn == TURNS {
            (Step::Text("All is written.".to_owned()), "stop")
        } else {
            (Step::Write(format!("part{turn}.tsx")), "tool_calls")
        };
        let steps =
            vec![step, Step::Finish(finish.to_owned()), Step::Data(usage), Step::Data("[DONE]".into())];
        Answer { steps, ..Answer::default() }
    })
    .await?;
    let server = Server::start(&settings(&provider, ""), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let mut after = 0;
    for number in 1..=3 {
        let job = client.submit(&session, &json!({ "prompt": format!("part {number}") })).await?;
        client
            .follow(&session, after, |frame| {
                after = frame.id;
                frame.event == "finish"
            })
            .await?;
        let job = client.job(&job).await?;
        ensure!(job["state"] == "succeeded", "job {number}: {job}");
    }
    let (_, session) = client.get(&format!("/api/sessions/{session}")).await?;
    let used = session["usage"]["prompt_tokens"].as_u64();
    ensure!(used.is_some_and(|used| used > 3 * TURNS as u64 * TOKENS_A_TURN), "{}", session["usage"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talkative_job_does_not_silence_the_next() -> Result<()> {
    let provider = Provider::scripted(|body, _| {
        if body["model"] == "router" {
            return to_engineer();
        }
        match turn_of(body) {
            0 => reply(vec![Step::Write("app/page.tsx".to_owned())], "tool_calls"),
            _ => reply(vec![Step::Text("All is written.".to_owned())], "stop"),
        }
    })
    .await?;
    let more = "history.max_events = 1000\nhistory.max_events_per_job = 1000";
    let server = Server::start(&settings(&provider, more), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let talks = json!({ "command": ["/bin/sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done"] });
    client.submit(&session, &talks).await?;
    let frames = client.until_finish(&session).await?;
    ensure!(frames.iter().any(|frame| frame.event == "truncated"), "the command did not reach its limit");
    let mut after = frames.last().map_or(0, |frame| frame.id);
    for number in 1..=2 {
        client.submit(&session, &json!({ "prompt": format!("page {number}") })).await?;
        let frames = client.follow(&session, after, |frame| frame.event == "finish").await?;
        after = frames.last().map_or(after, |frame| frame.id);
        for kind in ["agent_start", "tool_start", "tool_end", "message_complete", "agent_end", "finish"] {
            ensure!(frames.iter().any(|frame| frame.event == kind), "job {number} has no event {kind}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_in_mid_stream_ends_the_job_and_lets_the_provider_go() -> Result<()> {
    let provider = Provider::scripted(|body, _| {
        if body["model"] == "router" {
            return to_engineer();
        }
        reply(vec![Step::Repeat(json!({ "content": "and on " }), 100_000, 5)], "stop")
    })
    .await?;
    let server = Server::start(&settings(&provider, ""), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = client.submit(&session, &json!({ "prompt": "for ever" })).await?;
    client.follow(&session, 0, |frame| frame.event == "message_delta").await?;
    let begin = Instant::now();
    client.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await?;
    client.until_finish(&session).await?;
    ensure!(client.job(&job).await?["state"] == "cancelled");
    while provider.hang_ups() == 0 {
        ensure!(begin.elapsed() < Duration::from_secs(5), "the provider still sends");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
