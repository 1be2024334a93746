//! Invalid sessions and jobs (C2). Elsewhere: keys that come twice are in `once_tests`, what belongs to other users in
//! `access_tests`, a server that drains in `routes_tests`, a store that is full or away in `chaos`, all of `mgx-api` and
//! of this crate.

use anyhow::Result;
use mgx_testkit::{Client, Server};
use reqwest::Method;
use serde_json::{Value, json};

use super::{JSON, code};

#[tokio::test]
async fn sessions_and_jobs() -> Result<()> {
    let server = Server::start("runtime = \"null\"", &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let jobs = format!("/api/sessions/{session}/jobs");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let big = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));

    for (body, expected) in [
        ("", (400, "malformed-json")),
        ("{", (400, "malformed-json")),
        ("{} {}", (400, "malformed-json")),
        ("{\"name\":\"a\",\"name\":\"b\"}", (400, "malformed-json")),
        ("\u{feff}{}", (400, "malformed-json")),
        (&deep, (400, "malformed-json")),
        (&big, (413, "body-too-large")),
        ("[]", (422, "validation")),
        ("{\"session_id\":\"../x\"}", (422, "validation")),
        ("{\"session_id\":{\"$gt\":\"\"}}", (422, "validation")),
        ("{\"session_id\":\"a\\u0000\"}", (422, "validation")),
        ("{\"session_id\":\"😀\"}", (422, "validation")),
        (&format!("{{\"session_id\":\"{}\"}}", "x".repeat(300)), (422, "validation")),
        ("{\"framework\":\"rails\"}", (422, "validation")),
        ("{\"nmae\":\"x\"}", (422, "validation")),
    ] {
        let got = code(&client, Method::POST, "/api/sessions", &[JSON], body.into()).await?;
        assert_eq!((got.0, &*got.1), expected, "{}", &body[..body.len().min(80)]);
    }
    for (headers, expected) in [
        (vec![("content-type", "text/plain")], (415, "unsupported-media-type")),
        (vec![JSON, ("accept", "image/png")], (406, "not-acceptable")),
    ] {
        let got = code(&client, Method::POST, "/api/sessions", &headers, b"{}".to_vec()).await?;
        assert_eq!((got.0, &*got.1), expected, "{headers:?}");
    }
    for (job, expected) in [
        (json!({}), (422, "validation")),
        (json!({ "prompt": "x", "kind": "mine" }), (422, "validation")),
        (json!({ "prompt": "x", "timeout_s": 0 }), (422, "validation")),
        (json!({ "prompt": "x", "timeout_s": 10_000_000 }), (422, "validation")),
        (json!({ "prompt": "x", "timeout_s": -1 }), (422, "validation")),
        (json!({ "prompt": "x", "env": { "LD_PRELOAD": "x" } }), (422, "validation")),
        (json!({ "prompt": "x", "env": { "PATH": "x" } }), (422, "validation")),
        (json!({ "prompt": "x", "env": { "MGX_SLOT": "x" } }), (422, "validation")),
        (json!({ "prompt": "x", "env": { "A=B": "x" } }), (422, "validation")),
        (json!({ "prompt": "x", "workdir": "/proc/self/fd/8" }), (422, "validation")),
        (json!({ "prompt": "x", "workdir": "/workspace/../etc" }), (422, "validation")),
        (json!({ "prompt": "x", "resources": { "memory": "999g" } }), (422, "quota-exceeded")),
        (json!({ "prompt": "x", "resources": { "memory": "2x" } }), (422, "validation")),
        (json!({ "command": ["a\u{0}b"] }), (422, "validation")),
    ] {
        let got = code(&client, Method::POST, &jobs, &[JSON], job.to_string().into()).await?;
        assert_eq!((got.0, &*got.1), expected, "{job}");
    }

    let body = json!({ "session_id": session, "framework": "fastapi-vite" }).to_string();
    let got = code(&client, Method::POST, "/api/sessions", &[JSON], body.into()).await?;
    assert_eq!((got.0, &*got.1), (409, "conflict"));
    for path in ["/api/sessions/nobody", "/api/jobs/00000000-0000-7000-8000-000000000000", "/api/nothing"] {
        assert_eq!(
            code(&client, Method::GET, path, &[], vec![]).await?,
            (404, "not-found".to_owned()),
            "{path}"
        );
    }
    let (_, all) = client.get("/api/sessions").await?;
    assert_eq!(
        all["sessions"].as_array().map(Vec::len),
        Some(1),
        "nothing was kept of what was refused: {all}"
    );
    let (_, all) = client.get("/api/jobs").await?;
    assert_eq!(all["jobs"].as_array().map(Vec::len), Some(0), "{all}");

    let stranger = Client::new(server.url(), "not-the-token");
    for path in ["/api/sessions", "/api/jobs", "/api/nothing"] {
        assert_eq!(
            code(&stranger, Method::GET, path, &[], vec![]).await?,
            (401, "unauthorized".to_owned()),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_full_queue_says_so_and_when_to_come_back() -> Result<()> {
    let settings = "runtime = \"null\"\nscheduler.max_running = 1\nqueue.max_queued = 1";
    let server = Server::start(settings, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let sleep = json!({ "command": ["hold"] });
    client.submit(&session, &sleep).await?;
    client.follow(&session, 0, |frame| frame.event == "job_running").await?;
    client.submit(&session, &sleep).await?;
    let answer =
        client.request(Method::POST, &format!("/api/sessions/{session}/jobs")).json(&sleep).send().await?;
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await?;
    assert_eq!((&problem["code"], &problem["limit"]["max"]), (&json!("queue-full"), &json!(1)), "{problem}");
    Ok(())
}

#[tokio::test]
async fn a_job_is_cancelled_once_and_ends_once() -> Result<()> {
    let server = Server::start("runtime = \"null\"\nscheduler.max_running = 1", &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = client.submit(&session, &json!({ "command": ["hold"] })).await?;
    client.follow(&session, 0, |frame| frame.event == "job_running").await?;
    let cancel = || code(&client, Method::POST, "/api/jobs/JOB/cancel", &[JSON], b"{}".to_vec());
    assert_eq!(cancel().await?, (404, "not-found".to_owned()), "no id at all");
    let path = format!("/api/jobs/{job}/cancel");
    let cancel = || code(&client, Method::POST, &path, &[JSON], b"{}".to_vec());
    assert_eq!(cancel().await?.0, 202);
    let again = cancel().await?;
    assert!(again.0 == 200 || again == (409, "already-finished".to_owned()), "{again:?}");
    let frames = client.until_finish(&session).await?;
    assert_eq!(cancel().await?, (409, "already-finished".to_owned()));
    assert_eq!(frames.iter().filter(|frame| frame.event == "finish").count(), 1);
    assert_eq!(client.job(&job).await?["state"], "cancelled");
    Ok(())
}
