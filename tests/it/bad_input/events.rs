//! Invalid requests for event streams (C6), and events that must not be believed (C5).
//!
//! Events come in by the runner link alone, which no other container can reach; what is against its rules is in
//! `mgx-runtimes` (`tests/link`: repeated, ahead, out of order, of another attempt, too large), what a program in the
//! container writes in `mgx-agent-runner` (`events`), what an agent may say in `mgx-scheduler` (`verdict`, `history`), and
//! what is taken in from an export in `mgx-api` (`import_tests`). Of streams, `sse.rs` has the numbers, and `mgx-api` has
//! what is trimmed (`routes_tests`).
//!
//! One deviation: a `Last-Event-ID` with a control character in it is no HTTP, and is refused as such, without a problem.

use anyhow::Result;
use mgx_testkit::Server;
use reqwest::Method;
use serde_json::{Value, json};

use super::{code, everything, raw};

#[tokio::test]
async fn streams_that_are_not_asked_for_as_they_are_made() -> Result<()> {
    let server =
        Server::start("runtime = \"null\"\nstreams.per_session = 8\nstreams.per_user = 10", &[]).await?;
    let client = server.client();
    let (session, other) = (client.session("nextjs").await?, client.session("nextjs").await?);
    client.submit(&session, &json!({ "command": ["say", "3", "10"] })).await?;
    client.until_finish(&session).await?;
    let before = everything(&client).await?;
    let events = format!("/api/sessions/{session}/events");
    let token = server.token()?;
    let head = |version: &str, more: &str| {
        format!("GET {events} HTTP/{version}\r\nhost: x\r\nauthorization: Bearer {token}\r\n{more}\r\n")
            .into_bytes()
    };
    let nul = raw(&server, &head("1.1", "last-event-id: 1\0\r\n")).await?;
    assert!(nul.starts_with("HTTP/1.1 400"), "{nul}");
    let old = raw(&server, &head("1.0", "")).await?.to_ascii_lowercase();
    assert!(old.contains(" 200 ok") && !old.contains("transfer-encoding"), "{old}");
    for (id, expected) in [
        ("18446744073709551616", (400, "invalid-last-event-id")),
        ("\u{fc}", (400, "invalid-last-event-id")),
        ("1,2", (400, "invalid-last-event-id")),
        ("99", (409, "event-id-ahead")),
    ] {
        let got = code(&client, Method::GET, &events, &[("last-event-id", id)], vec![]).await?;
        assert_eq!((got.0, &*got.1), expected, "{id}");
    }
    let html = code(&client, Method::GET, &events, &[("accept", "text/html")], vec![]).await?;
    assert_eq!(html, (406, "not-acceptable".to_owned()));
    assert_eq!(everything(&client).await?, before);

    // as many streams as a user may have, none of which is read
    let mut open = Vec::new();
    let mut last = (0, Value::Null);
    for index in 0..1000 {
        let session = if index % 2 == 0 { &session } else { &other };
        let stream = client.request(Method::GET, &format!("/api/sessions/{session}/events?follow=true"));
        let answer = stream.send().await?;
        if answer.status() == 200 {
            open.push(answer);
            continue;
        }
        assert!(answer.headers().contains_key("retry-after"));
        last = (answer.status().as_u16(), answer.json().await?);
    }
    assert_eq!((open.len(), last.0, &last.1["code"]), (10, 429, &json!("too-many-streams")), "{}", last.1);
    assert_eq!(last.1["limit"]["name"], "streams.per_user");
    Ok(())
}
