//! Every route, called as a client calls it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use jiff::Timestamp;
use mgx_apps::Retention;
use serde_json::{Value, json};

use crate::testing::server::{ask, test_server, test_server_with};
use crate::testing::show;

const NO_JOB: &str = "/api/jobs/00000000-0000-7000-8000-000000000000";

#[tokio::test]
async fn nothing_under_api_answers_without_the_token() {
    let server = test_server().await;
    for (method, path) in [
        ("GET", "/api/sessions"),
        ("POST", "/api/nothing"),
        ("GET", "/api"),
        ("DELETE", "/api/sessions/x"),
        ("GET", NO_JOB),
    ] {
        for token in [None, Some("Bearer nonsense"), Some("Basic dGhlLXRva2Vu"), Some("the-token")] {
            let request = Request::builder().method(method).uri(path);
            let request = match token {
                Some(token) => request.header("authorization", token),
                None => request,
            };
            let (status, code, _) = server.code(request, Body::empty()).await;
            assert_eq!((status, &*code), (401, "unauthorized"), "{method} {path} {token:?}");
        }
    }
    let mut text = show(server.send(Request::get("/api/sessions"), Body::empty()).await).await;
    let id = text.find("x-request-id: ").unwrap() + 14;
    text.replace_range(id..id + 36, "[id]");
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let server = test_server().await;
    let (status, code, _) = server.get("/api/nothing").await;
    assert_eq!((status, &*code), (404, "not-found"));
    let (status, code, _) = server.get("/nothing").await;
    assert_eq!((status, &*code), (404, "not-found"));
    for (method, path, allowed) in [
        ("PUT", "/api/sessions", "POST"),
        ("POST", "/api/sessions/demo/events", "GET"),
        ("DELETE", "/healthz", "GET"),
    ] {
        let answer = server.send(ask(method, path), Body::empty()).await;
        assert_eq!(answer.status(), 405, "{method} {path}");
        assert!(answer.headers()["allow"].to_str().unwrap().contains(allowed), "{:?}", answer.headers());
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let text = ask("GET", "/api/sessions").header("accept", "text/html");
    assert_eq!(server.code(text, Body::empty()).await.1, "not-acceptable");
    assert_eq!(server.get("/api/sessions/..%2fx").await.0, 404);
    assert_eq!(server.get("/api/jobs/7").await.0, 404);
}

#[tokio::test]
async fn a_session_is_made_found_listed_and_deleted() {
    let server = test_server().await;
    let made = server.send(
        ask("POST", "/api/sessions").header("content-type", "application/json"),
        json!({ "session_id": "demo", "framework": "nextjs" }).to_string(),
    );
    let made = made.await;
    assert_eq!(made.status(), 201);
    assert_eq!(made.headers()["location"], "/api/sessions/demo");
    assert_eq!(
        server.post("/api/sessions", json!({ "session_id": "demo", "framework": "nextjs" })).await.0,
        200
    );
    let other =
        server.post("/api/sessions", json!({ "session_id": "demo", "framework": "fastapi-vite" })).await;
    assert_eq!((other.0, &*other.1), (409, "conflict"));
    for name in ["b", "c"] {
        assert_eq!(server.post("/api/sessions", json!({ "session_id": name })).await.0, 201);
    }
    let (_, _, first) = server.get("/api/sessions?limit=2").await;
    assert_eq!(first["sessions"].as_array().unwrap().len(), 2);
    let (_, _, second) =
        server.get(&format!("/api/sessions?limit=2&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!(
        (second["sessions"].as_array().unwrap().len(), &second["next"]),
        (1, &Value::Null),
        "{second}"
    );
    assert_eq!(server.code(ask("DELETE", "/api/sessions/demo"), Body::empty()).await.0, 204);
    assert_eq!(server.get("/api/sessions/demo").await.1, "not-found");
    assert_eq!(server.code(ask("DELETE", "/api/sessions/demo"), Body::empty()).await.1, "not-found");
}

#[tokio::test]
async fn a_job_waits_is_cancelled_once_and_stays_ended() {
    let server = test_server().await;
    server.post("/api/sessions", json!({ "session_id": "demo" })).await;
    let submit =
        || server.post("/api/sessions/demo/jobs", json!({ "prompt": "x", "env": { "KEY": "hidden-value" } }));
    let (status, _, first) = submit().await;
    assert_eq!(status, 202, "{first}");
    assert!(!first.to_string().contains("hidden-value"));
    let (_, _, second) = submit().await;
    let path = format!("/api/jobs/{}", second["job_id"].as_str().unwrap());
    let seen = server.queued_job(&path).await;
    assert_eq!((&seen["state"], &seen["position"]), (&json!("queued"), &json!(1)), "{seen}");
    let live = server.code(ask("DELETE", "/api/sessions/demo"), Body::empty()).await;
    assert_eq!((live.0, &*live.1), (409, "conflict"), "its jobs have not ended");

    let (status, _, cancelled) = server.post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!(status, 202, "{cancelled}");
    let mut changes = server.scheduler.log().subscribe(&"demo".parse().unwrap());
    while server.get(&path).await.2["state"] != "cancelled" {
        changes.changed().await.unwrap();
    }
    assert_eq!(server.get(&path).await.2["result"]["status"], "stopped");
    let again = server.post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!((again.0, &*again.1), (409, "already-finished"));
    assert_eq!(server.post(&format!("{NO_JOB}/cancel"), json!({})).await.1, "not-found");

    let (_, _, page) = server.get("/api/jobs?state=cancelled&session=demo").await;
    assert_eq!(page["jobs"].as_array().unwrap().len(), 1, "{page}");
    let (_, _, page) = server.get("/api/sessions/demo/jobs?limit=1").await;
    assert_eq!(page["jobs"][0]["job_id"], second["job_id"], "newest first");
    assert_eq!(page["next"], second["job_id"]);
    assert_eq!(server.get("/api/jobs?state=sleeping").await.1, "validation");
}

#[tokio::test]
async fn a_refused_first_job_leaves_no_session_behind() {
    let server = test_server().await;
    let (status, code, _) = server.post("/api/sessions", json!({ "session_id": "demo", "prompt": "" })).await;
    assert_eq!((status, &*code), (422, "validation"));
    server.scheduler.drain();
    let (status, code, problem) =
        server.post("/api/sessions", json!({ "session_id": "demo", "prompt": "x" })).await;
    assert_eq!((status, &*code), (503, "draining"), "{problem}");
    assert!(problem["retry_after_ms"].as_u64() > Some(0));
    assert_eq!(server.get("/api/sessions/demo").await.0, 404);
    assert_eq!(server.get("/readyz").await.1, "draining");
}

#[tokio::test]
async fn a_full_queue_refuses_jobs() {
    let server = test_server().await;
    server.post("/api/sessions", json!({ "session_id": "demo" })).await;
    let mut last = (0, String::new(), Value::Null);
    for _ in 0..10 {
        last = server.post("/api/sessions/demo/jobs", json!({ "prompt": "x" })).await;
        if last.0 != 202 {
            break;
        }
    }
    assert_eq!((last.0, &*last.1), (429, "queue-full"));
    assert_eq!(last.2["limit"]["max"], 3);
}

#[tokio::test]
async fn a_generate_request_creates_or_finds_its_session() {
    let server = test_server().await;
    let body = json!({ "session_id": "test-session", "workspace_id": "test-workspace", "framework": "nextjs", "prompt": "x" });
    let (status, _, job) = server.post("/api/agent/generate", body.clone()).await;
    assert_eq!((status, &job["session_id"]), (202, &json!("test-session")), "{job}");
    assert_eq!(server.post("/api/agent/generate", body).await.0, 202);
    assert_eq!(
        server.post("/api/agent/generate", json!({ "session_id": "test-session", "prompt": "x" })).await.0,
        202
    );
    let other = json!({ "session_id": "test-session", "framework": "fastapi-vite", "prompt": "x" });
    assert_eq!(server.post("/api/agent/generate", other).await.1, "conflict");
    assert!(server.dir.path().join("workspaces/test-workspace").is_dir());
}

#[tokio::test]
async fn a_finished_log_is_replayed_to_its_end() {
    let server = test_server().await;
    let last = server.finished_session().await;
    let events = "/api/sessions/demo/events";
    let stream = |after: u64| server.send(ask("GET", events).header("last-event-id", after), Body::empty());

    let answer = stream(0).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let text = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.starts_with("retry: 1000\nid: 1\nevent: "), "{text}");
    let ids: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    assert_eq!(ids, (1..=last).collect::<Vec<_>>());
    let has_data = |frame: &str| frame.lines().any(|line| line.starts_with("data: {"));
    assert!(text.split_terminator("\n\n").all(has_data), "what is read as an event has data: {text}");
    assert!(text.contains("event: finish\n") && text.ends_with("}\n\n"), "{text}");

    assert_eq!(stream(last).await.status(), 204);
    assert_eq!(stream(last + 1).await.status(), 409);
    let limited = server.send(ask("GET", &format!("{events}?limit=1")), Body::empty()).await;
    let text = limited.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(String::from_utf8_lossy(&text).matches("id: ").count(), 1);

    let page = server.code(
        ask("GET", &format!("{events}?after=1&limit=1")).header("accept", "application/json"),
        Body::empty(),
    );
    let (_, _, page) = page.await;
    assert_eq!((&page["events"][0]["seq"], &page["next"]), (&json!(2), &json!(2)), "{page}");
    let head = server.send(ask("HEAD", events), Body::empty()).await;
    assert_eq!(head.status(), 200);
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
    for query in ["after=abc", "after=-1", "after=007", "after=1%00", "after="] {
        assert_eq!(server.get(&format!("{events}?{query}")).await.1, "invalid-last-event-id", "{query}");
    }
    assert_eq!(server.get("/api/sessions/nobody/events").await.1, "not-found");
}

#[tokio::test]
async fn a_live_log_is_followed_to_its_end() {
    let server = test_server_with(false, 1).await;
    server.post("/api/sessions", json!({ "session_id": "demo" })).await;
    let mut body = server.send(ask("GET", "/api/sessions/demo/events"), Body::empty()).await.into_body();
    let refused = server.get("/api/sessions/demo/events").await;
    assert_eq!((refused.0, &*refused.1), (429, "too-many-streams"));
    let mut read = async || {
        let frame =
            tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("something comes");
        frame.map(|frame| String::from_utf8_lossy(&frame.unwrap().into_data().unwrap()).into_owned())
    };
    assert_eq!(read().await.as_deref(), Some("retry: 1000\n"));
    server.post("/api/sessions/demo/jobs", json!({ "prompt": "fail" })).await;
    let first = read().await.unwrap();
    assert!(first.starts_with("id: 1\nevent: "), "{first}");
    let mut rest = first;
    while let Some(text) = read().await {
        rest.push_str(&text);
    }
    assert!(rest.contains("event: finish\n"), "it ends by itself after the last event: {rest}");
}

#[tokio::test]
async fn trimmed_events_are_reported_as_a_gap() {
    let server = test_server().await;
    let last = server.finished_session().await;
    let events = "/api/sessions/demo/events";
    let retention = Retention::new(server.archive.clone(), Duration::from_secs(1)).unwrap();
    let later = Timestamp::now() + Duration::from_hours(24);
    assert_eq!(retention.round(later).await.unwrap() as u64, last - 1);
    for after in [0, 1, last - 2] {
        let (status, code, problem) =
            server.code(ask("GET", events).header("last-event-id", after), Body::empty()).await;
        assert_eq!((status, &*code, &problem["oldest"]), (410, "events-trimmed", &json!(last)), "{after}");
    }
    assert_eq!(
        server.send(ask("GET", events).header("last-event-id", last), Body::empty()).await.status(),
        204
    );
    for after in [None, Some(last - 1)] {
        let request = ask("GET", events);
        let request = match after {
            Some(after) => request.header("last-event-id", after),
            None => request,
        };
        let body = server.send(request, Body::empty()).await.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        let ids: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
        assert_eq!(ids, [last], "{after:?}: what there is");
    }
    let page = ask("GET", &format!("{events}?after=0")).header("accept", "application/json");
    assert_eq!(server.code(page, Body::empty()).await.1, "events-trimmed");
}

#[tokio::test]
async fn a_silent_stream_pings_and_closes_with_the_server() {
    let server = test_server().await;
    server.post("/api/sessions", json!({ "session_id": "demo" })).await;
    let mut body = server.send(ask("GET", "/api/sessions/demo/events"), Body::empty()).await.into_body();
    let mut read = async || body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
    assert_eq!(read().await.unwrap(), "retry: 1000\n");
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    for ping in 1..=3 {
        assert_eq!(read().await.unwrap(), "event: ping\ndata: {}\n\n");
        assert_eq!(begin.elapsed().as_secs().div_ceil(15), ping, "one in 15 seconds");
    }
    server.closing.cancel();
    assert_eq!(read().await, None);
}

#[tokio::test]
async fn files_are_written_read_listed_and_deleted() {
    let server = test_server().await;
    server.post("/api/sessions", json!({ "session_id": "demo" })).await;
    let files = "/api/workspaces/demo/files";
    let file = format!("{files}/notes/a%20b.txt");
    let made = server.send(ask("PUT", &file).header("if-none-match", "*"), "one").await;
    assert_eq!(made.status(), 201);
    let tag = made.headers()["etag"].clone();
    assert_eq!(server.code(ask("PUT", &file).header("if-none-match", "*"), "x").await.1, "etag-mismatch");
    assert_eq!(server.send(ask("PUT", &file).header("if-match", tag.clone()), "two").await.status(), 204);
    let lost = server.send(ask("PUT", &file).header("if-match", tag), "three").await;
    assert_eq!(lost.status(), 412);
    assert!(lost.headers().contains_key("etag"), "the version that is there");

    let got = server.send(ask("GET", &file).header("accept", "image/png"), Body::empty()).await;
    assert_eq!(got.headers()["content-length"], "3");
    assert_eq!(got.into_body().collect().await.unwrap().to_bytes(), "two");
    let head = server.send(ask("HEAD", &file), Body::empty()).await;
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"3".parse().unwrap()));
    let (_, _, text) = server.get(&format!("{files}?path=notes/a%20b.txt")).await;
    assert_eq!((&text["content"], &text["size"]), (&json!("two"), &json!(3)), "{text}");
    let put = ask("PUT", &format!("{files}?path=notes/c.txt")).header("content-type", "application/json");
    assert_eq!(server.code(put, json!({ "content": "ü" }).to_string()).await.0, 201);

    let (_, _, page) = server.get(&format!("{files}?dir=notes&limit=1")).await;
    assert_eq!(page["entries"][0]["path"], "notes/a b.txt", "{page}");
    let (_, _, page) = server.get(&format!("{files}?dir=notes&limit=1&cursor={}", "notes/a%20b.txt")).await;
    assert_eq!((&page["entries"][0]["name"], &page["next"]), (&json!("c.txt"), &Value::Null), "{page}");
    for bad in ["%2e%2e%2fx", "..", "..%5cx", "a%5Cb", "a%00b", "%ff", "a//b", "/etc/passwd"] {
        assert_eq!(server.get(&format!("{files}/{bad}")).await.1, "invalid-path", "{bad}");
    }
    assert_eq!(server.get(&format!("{files}/notes")).await.1, "not-regular-file");
    assert_eq!(server.get("/api/workspaces/nobody/files").await.1, "not-found");
    assert_eq!(server.code(ask("DELETE", &file), Body::empty()).await.0, 204);
    assert_eq!(server.get(&file).await.1, "not-found");
}

#[tokio::test]
async fn a_body_that_is_cut_leaves_the_old_file() {
    let server = test_server().await;
    server.post("/api/sessions", json!({ "session_id": "demo" })).await;
    let file = "/api/workspaces/demo/files/a.txt";
    server.send(ask("PUT", file), "whole").await;
    let names = || {
        let dir = std::fs::read_dir(server.dir.path().join("workspaces/demo")).unwrap();
        dir.map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>()
    };
    let before = names();
    assert!(before.contains(OsStr::new("a.txt")));
    let cut = Body::from_stream(futures_util::stream::iter([Ok("ha"), Err(std::io::Error::other("cut"))]));
    assert_eq!(server.code(ask("PUT", file), cut).await.0, 408);
    let got = server.send(ask("GET", file), Body::empty()).await;
    assert_eq!(got.into_body().collect().await.unwrap().to_bytes(), "whole");
    assert_eq!(names(), before, "no partial file is left");
}

#[tokio::test]
async fn readiness_names_what_is_unreachable_and_no_more() {
    let up = test_server().await;
    let (status, _, ready) = up.code(Request::get("/readyz"), Body::empty()).await;
    assert_eq!((status, &ready["engine"]), (200, &json!("fake")));
    let down = test_server_with(true, 8).await;
    let (status, code, problem) = down.code(Request::get("/readyz"), Body::empty()).await;
    assert_eq!((status, &*code), (503, "runtime-unavailable"));
    assert!(!problem.to_string().contains("secret"), "{problem}");
    assert_eq!(down.code(Request::get("/healthz"), Body::empty()).await.0, 200);
    assert_eq!(
        down.post("/api/sessions", json!({ "session_id": "demo", "prompt": "x" })).await.0,
        201,
        "it waits"
    );
}
