//! Bad input at the public door: sessions and jobs, files, and what must not change because of it.

use std::ffi::CString;
use std::os::unix::fs::symlink;

use anyhow::Result;
use mgx_tests::{Client, Server};
use reqwest::Method;
use serde_json::{Value, json};

use crate::session::settings;

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
    for leak in ["/tmp/", "panicked", "src/", ".rs:", "sqlite", "SELECT"] {
        assert!(!text.contains(leak), "the inside shows: {text}");
    }
    Ok((status, problem["code"].as_str().unwrap_or_default().to_owned()))
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn sessions_and_jobs() -> Result<()> {
    let server = Server::start(&settings(), &[]).await?;
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
    let settings = format!(
        "{}\nscheduler.max_running = 1\nqueue.max_queued = 1\nagent.image = \"mgx-agent-busybox:test\"",
        settings()
    );
    drop(crate::session::busybox().await?);
    let server = Server::start(&settings, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let sleep = json!({ "command": ["/bin/busybox", "sh", "-c", "echo up; sleep 600"] });
    client.submit(&session, &sleep).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
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
async fn paths_and_what_they_lead_to() -> Result<()> {
    let server = Server::start(&settings(), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let files = format!("/api/workspaces/{session}/files");
    let dir = server.data().join("workspaces").join(&session);
    let secret = server.data().join("secret.txt");
    std::fs::write(&secret, "do not read")?;
    std::fs::create_dir(dir.join("dir"))?;
    symlink("/etc/passwd", dir.join("passwd"))?;
    symlink("../../secret.txt", dir.join("up"))?;
    symlink("loop", dir.join("loop"))?;
    let fifo = CString::new(dir.join("fifo").to_str().expect("a text path"))?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &*fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )?;

    let name = "x".repeat(256);
    let long = "x/".repeat(2049);
    for path in [
        "%2e%2e%2fsecret.txt",
        "..%5csecret.txt",
        "%252e%252e/secret.txt",
        "a%00b",
        "%ff",
        "a//b",
        "/etc/passwd",
        &name,
        &long,
    ] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let got = code(&client, method.clone(), &format!("{files}/{path}"), &[], b"x".to_vec()).await?;
            assert_eq!(got, (400, "invalid-path".to_owned()), "{method} {path}");
        }
    }
    for path in ["passwd", "up", "loop"] {
        for method in [Method::GET, Method::PUT] {
            let got = code(&client, method.clone(), &format!("{files}/{path}"), &[], b"x".to_vec()).await?;
            assert_eq!(got, (403, "path-escape".to_owned()), "{method} {path}");
        }
    }
    for path in ["fifo", "dir"] {
        let got = code(&client, Method::GET, &format!("{files}/{path}"), &[], vec![]).await?;
        assert_eq!(got, (409, "not-regular-file".to_owned()), "{path}");
    }
    assert_eq!(std::fs::read_to_string(&secret)?, "do not read");
    Ok(())
}

#[tokio::test]
async fn no_update_is_lost_and_nothing_half_written() -> Result<()> {
    let server = Server::start(&settings(), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let file = format!("/api/workspaces/{session}/files/notes/evil.html");
    let put = |tag: Option<String>, text: &'static str| {
        let request = client.request(Method::PUT, &file).body(text);
        match tag {
            Some(tag) => request.header("if-match", tag),
            None => request,
        }
    };
    let first = put(None, "one").send().await?;
    assert_eq!(first.status(), 201);
    let tag = first.headers()["etag"].to_str()?.to_owned();
    assert_eq!(put(Some(tag.clone()), "two").send().await?.status(), 204);
    let lost = put(Some(tag), "three").send().await?;
    assert_eq!(lost.status(), 412);

    let got = client.request(Method::GET, &file).send().await?;
    for (header, value) in [
        ("content-disposition", "attachment"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
    ] {
        assert!(got.headers()[header].to_str()?.contains(value), "{header}");
    }
    assert_eq!(got.text().await?, "two");
    for (range, status) in [("bytes=1-", 206), ("bytes=9-", 416), ("bytes=x", 200)] {
        assert_eq!(
            client.request(Method::GET, &file).header("range", range).send().await?.status(),
            status,
            "{range}"
        );
    }
    let (_, listing) = client.get(&format!("/api/workspaces/{session}/files?dir=notes")).await?;
    assert_eq!(listing["entries"].as_array().map(Vec::len), Some(1), "no temporary file is left: {listing}");
    Ok(())
}
