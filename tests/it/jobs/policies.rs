//! Admission by the public API: submissions over the rate or the budget are refused with the reason, and others accepted.

use std::time::Duration;

use anyhow::{Context, Result};
use mgx_testkit::{Client, ModelProvider, Server};
use reqwest::Method;
use serde_json::{Value, json};

use crate::jobs::session::settings;

/// A POST: status, `Retry-After`, and the body.
async fn post(client: &Client, path: &str, body: &Value) -> Result<(u16, Option<u64>, Value)> {
    let answer = client.request(Method::POST, path).json(body).send().await?;
    let wait = answer.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse().ok());
    Ok((answer.status().as_u16(), wait, answer.json().await?))
}

#[tokio::test]
async fn a_client_that_retries_when_told_is_accepted_and_a_flood_does_not_fill_the_log() -> Result<()> {
    let rate = "runtime = \"null\"\nrate.per_minute = 30\nrate.burst = 20";
    let server = Server::start(&format!("{}\n{rate}", settings()), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let jobs = format!("/api/sessions/{session}/jobs");
    let prompt = "a prompt that nobody else reads";
    let batch = json!({ "jobs": vec![json!({ "prompt": prompt }); 500] });
    let (status, _, answer) = post(&client, &format!("{jobs}:batch"), &batch).await?;
    assert_eq!(status, 202);
    let accepted = answer["accepted"].as_u64().context("no count")?;
    assert!((20..=21).contains(&accepted), "the burst, and perhaps one whose time had come: {accepted}");
    let last = &answer["results"][499]["problem"];
    assert_eq!((&last["code"], &last["limit"]["max"]), (&json!("rate-limited"), &json!(20)), "{last}");

    let (status, wait, problem) = post(&client, &jobs, &json!({ "prompt": prompt })).await?;
    assert_eq!((status, &problem["code"]), (429, &json!("rate-limited")), "{problem}");
    tokio::time::sleep(Duration::from_secs(wait.context("no retry-after")?)).await;
    let (status, _, job) = post(&client, &jobs, &json!({ "prompt": prompt })).await?;
    assert_eq!(status, 202, "{job}");

    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("job refused")).collect();
    assert!((20..40).contains(&lines.len()), "{} lines for 480 refusals", lines.len());
    for field in ["policy=\"rate\"", "limit=\"rate.burst\"", "used=20", "max=20", "user=\"admin\""] {
        assert!(lines[0].contains(field), "{field} is not in {}", lines[0]);
    }
    assert!(!log.contains(prompt));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_budget_is_spent_stops_and_gets_no_new_agent_jobs() -> Result<()> {
    let provider = ModelProvider::start().await?;
    // the first answer has 5 and 3 tokens: 0.011 units
    let budget = "llm.max_cost_per_session = 0.01\n\
        llm.prices.\"gpt-4.1\" = { input_per_million = 1000, output_per_million = 2000.0 }";
    let server =
        Server::start(&format!("{}\n{budget}", settings()), &[("OPENAI_BASE_URL", &*provider.url)]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    client.submit(&session, &json!({ "prompt": "Write notes" })).await?;
    let frames = client.until_finish(&session).await?;
    let finish = &frames.last().context("no finish")?.data["data"];
    assert_eq!(finish["status"], "error", "{finish}");
    let refused = frames.iter().filter(|frame| frame.event == "agent_error").map(|frame| &frame.data["data"]);
    let kinds: Vec<_> = refused.map(|error| &error["error_type"]).collect();
    assert_eq!(kinds, [&json!("budget_exhausted")], "it is not asked again: {frames:?}");
    assert_eq!(provider.requests().len(), 2, "busy, and the one that was paid for");

    let (_, found) = client.get(&format!("/api/sessions/{session}")).await?;
    assert_eq!(found["usage"]["cost_micros"], 11_000, "{found}");
    let jobs = format!("/api/sessions/{session}/jobs");
    let (status, wait, problem) = post(&client, &jobs, &json!({ "prompt": "more" })).await?;
    assert_eq!((status, wait, &problem["code"]), (409, None, &json!("budget-exhausted")), "{problem}");
    let limit = json!({ "name": "llm.max_cost_per_session", "used": 11_000, "max": 10_000 });
    assert_eq!(problem["limit"], limit);
    let (status, _, job) = post(&client, &jobs, &json!({ "command": ["/bin/true"] })).await?;
    assert_eq!(status, 202, "a command needs no model: {job}");
    Ok(())
}
