//! The team with the providers that people have reported: every dialect and every fault in `corpus/`, through the real server,
//! proxy and runner, with the requests counted.
//!
//! A case is data: what the provider sends for each request, which requests it refuses, and what is expected of the job.

mod case;
mod jobs;
mod memory;
mod outage;
mod provider;
mod reached;

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream};
use mgx_testkit::Server;
use serde_json::json;
use tokio::time::Instant;

use case::{Case, Expectation};
use provider::Provider;

/// How many cases are played at the same time.
const PARALLEL: usize = 6;

/// The key that the provider is sent, and that must never show up anywhere.
const KEY: &str = "sk-dummy-canary-5b1e7a90c3d4";

/// The settings of a server at the provider, with short pauses.
fn settings(provider: &Provider, more: &str) -> String {
    format!(
        "runtime = \"process\"\nllm.base_url = \"{}\"\nllm.api_key = \"{KEY}\"\nllm.retry_pause = \"20ms\"\n\
         agents.default_model = \"worker\"\nagents.roles.router.model = \"router\"\n{more}",
        provider.url
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_ends_as_expected() -> Result<()> {
    let (apart, together): (Vec<_>, Vec<_>) = case::all()?.into_iter().partition(|case| case.apart);
    for cases in apart.chunks(1).chain([&together[..]]) {
        play_all(cases).await?;
    }
    Ok(())
}

/// Plays cases at one provider with one server.
async fn play_all(cases: &[Case]) -> Result<()> {
    let provider = Provider::start(cases).await?;
    let more = "scheduler.max_running = 8\nllm.hold = \"1s\"\nllm.max_outage = \"4s\"\nllm.first_byte_timeout = \"3s\"\n\
                llm.read_timeout = \"3s\"";
    let server = Server::start(&settings(&provider, more), &[]).await?;
    let played: Vec<_> = stream::iter(cases)
        .map(|case| {
            let (server, provider) = (&server, &provider);
            async move { (case, play(server, provider, case).await) }
        })
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let mut wrong = String::new();
    for (case, result) in played {
        if let Err(error) = result {
            writeln!(wrong, "{}: {error:#}", case.name)?;
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    ensure!(!server.log().contains(KEY), "the log holds the key");
    Ok(())
}

/// Plays one case in a session of its own.
async fn play(server: &Server, provider: &Provider, case: &Case) -> Result<()> {
    let client = server.client();
    let session = client.session("nextjs").await?;
    let prompt = json!({ "prompt": format!("Build a bakery page. case={}", case.name) });
    let begin = Instant::now();
    let job = client.submit(&session, &prompt).await?;
    let frames = client.until_finish(&session).await?;
    let took = begin.elapsed();
    let job = client.job(&job).await?;
    let (_, session) = client.get(&format!("/api/sessions/{session}")).await?;
    let workspace = session["workspace_id"].as_str().context("no workspace")?.to_owned();
    let Expectation { state, error, requests, files, events, no_events, max_events, max_ms, sent, not_sent } =
        &case.expect;
    ensure!(job["state"] == state.as_str(), "the job is {}: {}", job["state"], job["error"]);
    let message = job["error"].as_str().unwrap_or_default();
    for words in error {
        ensure!(message.contains(words), "{words:?} is not in {message:?}");
    }
    let all = frames.iter().map(|frame| frame.data.to_string()).collect::<String>();
    ensure!(!all.contains(KEY), "an event holds the key");
    let count = provider.requests(&case.name);
    ensure!(requests.contains(&count), "{count} requests, {requests:?} are expected");
    for (path, text) in files {
        let (status, file) = text_of(server, &workspace, path).await?;
        ensure!(status && file.contains(text.as_str()), "{path}: {file:?}");
        ensure!(!file.contains(KEY), "{path} holds the key");
    }
    for kind in events {
        ensure!(frames.iter().any(|frame| frame.event == *kind), "there is no event {kind}");
    }
    for kind in no_events {
        ensure!(!frames.iter().any(|frame| frame.event == *kind), "there is an event {kind}");
    }
    if let Some(max) = max_ms {
        ensure!(took <= Duration::from_millis(*max), "it took {} ms", took.as_millis());
    }
    if let Some(max) = max_events {
        ensure!(frames.len() <= *max, "{} events", frames.len());
    }
    let last = provider.last_request(&case.name);
    for words in sent {
        ensure!(last.contains(words.as_str()), "the last request lacks {words:?}: {last}");
    }
    for words in not_sent {
        ensure!(!last.contains(words.as_str()), "the last request holds {words:?}: {last}");
    }
    Ok(())
}

/// Whether a file is there, and its text.
async fn text_of(server: &Server, workspace: &str, path: &str) -> Result<(bool, String)> {
    let request =
        server.client().request(reqwest::Method::GET, &format!("/api/workspaces/{workspace}/files/{path}"));
    let answer = request.send().await?;
    Ok((answer.status().is_success(), answer.text().await?))
}
