//! A provider that is not reached, or does not know the key or the model: what the job, the log and `mgx doctor` say.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mgx_testkit::Server;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::KEY;
use crate::case::{Answer, Case};
use crate::provider::Provider;

fn at(url: &str) -> String {
    format!(
        "runtime = \"process\"\nllm.base_url = \"{url}\"\nllm.api_key = \"{KEY}\"\nllm.retry_pause = \"20ms\"\n\
         llm.hold = \"300ms\"\nllm.max_outage = \"1s\"\nagents.default_model = \"worker\""
    )
}

/// What a job fails with at this URL.
async fn failure_at(url: &str) -> Result<String> {
    let server = Server::start(&at(url), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let begin = Instant::now();
    let job = client.submit(&session, &json!({ "prompt": "a page" })).await?;
    client.until_finish(&session).await?;
    ensure!(begin.elapsed() < Duration::from_secs(20), "it took {} s", begin.elapsed().as_secs());
    let job = client.job(&job).await?;
    ensure!(job["state"] == "failed", "{job}");
    let error = job["error"].as_str().context("no error")?.to_owned();
    ensure!(server.log().contains("provider"), "the log says nothing: {}", server.log());
    Ok(error)
}

fn doctor(url: &str) -> Result<String> {
    let server = Server::prepare(&at(url), &[])?;
    let output = server.command(&["doctor"]).output()?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_a_closed_port_and_a_port_without_tls_are_told_apart() -> Result<()> {
    let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let plain = TcpListener::bind("127.0.0.1:0").await?;
    let tls = format!("https://{}/v1", plain.local_addr()?);
    // a server without TLS answers a handshake with an error
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = plain.accept().await {
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.ok();
        }
    });
    for (url, words) in [
        ("http://no-such-host.invalid/v1".to_owned(), "no-such-host.invalid"),
        (format!("http://{closed}/v1"), "does not accept connections"),
        (tls, "TLS"),
    ] {
        let error = failure_at(&url).await?;
        ensure!(error.to_lowercase().contains(&words.to_lowercase()), "{url}: {error}");
        ensure!(!error.contains("key"), "{url}: {error}");
        let doctor = doctor(&url)?;
        ensure!(doctor.to_lowercase().contains(&words.to_lowercase()), "{url}: {doctor}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_asks_for_one_token_and_says_what_is_wrong() -> Result<()> {
    for (status, body, words) in [
        ("401 Unauthorized", json!({ "error": { "message": "Incorrect API key" } }), "Incorrect API key"),
        (
            "404 Not Found",
            json!({ "error": { "message": "The model `worker` does not exist" } }),
            "does not exist",
        ),
    ] {
        let answer = Answer { status: status.to_owned(), body: Some(body), ..Answer::default() };
        let expect = json!({ "state": "failed", "requests": [] });
        let provider = Provider::start(&[Case {
            name: String::new(),
            _about: String::new(),
            apart: false,
            answers: vec![answer],
            refuses: Vec::new(),
            expect: serde_json::from_value(expect)?,
        }])
        .await?;
        let doctor = doctor(&provider.url)?;
        ensure!(doctor.contains(words) && doctor.contains("FAIL"), "{doctor}");
        ensure!(!doctor.contains(KEY), "{doctor}");
    }
    Ok(())
}
