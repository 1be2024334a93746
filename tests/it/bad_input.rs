//! Bad input to the public API, area by area: how it is answered, and what must not change because of it.
//!
//! Each file begins with what other suites cover. Every refusal is a problem document that shows no internals.

mod config;
mod create;
mod events;
mod exec;
mod files;
mod oauth;

use anyhow::{Context, Result};
use mgx_testkit::{Client, Server};
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a raw body and returns status and problem code.
async fn code(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<(u16, String)> {
    let mut request = client.request(method, path).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap_or("").to_owned());
    let text = answer.text().await?;
    if status < 400 {
        return Ok((status, text));
    }
    assert_eq!(kind.as_deref(), Some("application/problem+json"), "{status} {text}");
    let problem: Value = serde_json::from_str(&text)?;
    assert!(status < 500 || DOCUMENTED_SERVER_ERRORS.contains(&status), "{status} {text}");
    for leak in ["/tmp/", "panicked", "src/", ".rs:", "sqlite", "SELECT"] {
        assert!(!text.contains(leak), "internals are shown: {text}");
    }
    Ok((status, problem["code"].as_str().unwrap_or_default().to_owned()))
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Server errors that are documented, and say when to come back.
const DOCUMENTED_SERVER_ERRORS: [u16; 2] = [503, 507];

/// Sends these bytes; the answer, up to the end of its head or of the connection.
async fn raw(server: &Server, bytes: &[u8]) -> Result<String> {
    let mut socket = TcpStream::connect(server.url().trim_start_matches("http://")).await?;
    // the server may close the connection of an early refusal before everything is sent
    socket.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let whole = tokio::time::timeout(mgx_testkit::client::REQUEST_TIMEOUT, async {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = socket.read(&mut piece).await {
            answer.extend_from_slice(&piece[..count]);
            if String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
                break;
            }
        }
    });
    whole.await.context("no answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Everything that a refused request could have changed.
async fn everything(client: &Client) -> Result<Value> {
    let (_, sessions) = client.get("/api/sessions").await?;
    let (_, jobs) = client.get("/api/jobs").await?;
    Ok(serde_json::json!([sessions, jobs]))
}
