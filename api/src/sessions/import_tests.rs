//! A session is exported by one server and imported by another.

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::testing::server::{TestServer, ask, test_server};

async fn export(server: &TestServer, session: &str) -> String {
    let answer = server.send(ask("GET", &format!("/api/sessions/{session}/export")), Body::empty()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/jsonl");
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn import(server: &TestServer, lines: impl Into<Body>) -> (u16, String, Value) {
    server.code(ask("POST", "/api/sessions:import").header("content-type", "application/jsonl"), lines).await
}

async fn events(server: &TestServer, session: &str) -> Value {
    let page = ask("GET", &format!("/api/sessions/{session}/events")).header("accept", "application/json");
    server.code(page, Body::empty()).await.2["events"].take()
}

#[tokio::test]
async fn a_session_is_imported_as_it_was_exported() {
    let (here, there) = (test_server().await, test_server().await);
    let last = here.finished_session().await;
    let lines = export(&here, "demo").await;
    assert!(lines.starts_with("{\"mgx_export\":{\"version\":1,"), "{lines}");
    assert_eq!(lines.lines().count() as u64, 1 + 1 + 1 + last + 1, "{lines}");

    let (status, _, session) = import(&there, lines.clone()).await;
    assert_eq!(
        (status, &session["session_id"], &session["is_running"]),
        (201, &json!("demo"), &json!(false))
    );
    assert_eq!(events(&there, "demo").await, events(&here, "demo").await);
    let jobs = async |server: &TestServer| server.get("/api/sessions/demo/jobs").await.2;
    assert_eq!(jobs(&there).await, jobs(&here).await);
    assert!(there.dir.path().join("workspaces/demo").is_dir());

    let (status, code, _) = import(&there, lines.clone()).await;
    assert_eq!((status, &*code), (409, "conflict"), "it is there already");
    assert_eq!(there.code(ask("DELETE", "/api/sessions/demo"), Body::empty()).await.0, 204);
    assert_eq!(import(&there, lines).await.0, 201, "and now it is not");
}

#[tokio::test]
async fn a_job_that_had_not_ended_does_not_run_here() {
    let (here, there) = (test_server().await, test_server().await);
    here.post("/api/sessions", json!({ "session_id": "demo" })).await;
    let job = json!({ "prompt": "x", "env": { "KEY": "hidden-value" } });
    let (_, _, job) = here.post("/api/sessions/demo/jobs", job).await;
    let path = format!("/api/jobs/{}", job["job_id"].as_str().unwrap());
    let lines = export(&here, "demo").await;
    assert!(!lines.contains("hidden-value"), "{lines}");
    assert_eq!(import(&there, lines).await.0, 201);
    let (_, _, job) = there.get(&path).await;
    assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("runtime_lost")), "{job}");
    let events = events(&there, "demo").await;
    let last = events.as_array().unwrap().last().unwrap();
    assert_eq!((&last["event_type"], &last["data"]["status"]), (&json!("finish"), &json!("failed")));
    assert_eq!(there.scheduler.load().live, 0);
}

#[tokio::test]
async fn an_invalid_export_is_refused_with_its_line_and_nothing_is_stored() {
    let (here, there) = (test_server().await, test_server().await);
    here.finished_session().await;
    let lines = export(&here, "demo").await;
    let whole: Vec<&str> = lines.lines().collect();
    let job = whole[2].to_owned();
    let change = |at: usize, line: &str| {
        let mut lines = whole.clone();
        lines[at] = line;
        lines.join("\n")
    };
    let without = |at: usize| {
        let mut lines = whole.clone();
        lines.remove(at);
        lines.join("\n")
    };
    let mut details = String::new();
    for lines in [
        String::new(),
        "hello".to_owned(),
        change(0, "{\"mgx_export\":{\"version\":2,\"at\":\"2026-01-02T03:04:05Z\"}}"),
        change(1, "{\"session\":{\"session_id\":\"../etc\"}}"),
        change(1, "{\"session\":7}"),
        without(1),
        change(3, &job),
        without(2),
        without(4),
        change(3, "{\"event\":{\"seq\":1,\"evil\":true}}"),
        change(whole.len() - 1, "{\"end\":{\"jobs\":1,\"events\":99}}"),
        without(whole.len() - 1),
        format!("{lines}{job}\n"),
        whole[..5].join("\n"),
        "x".repeat(3 << 20),
    ] {
        let (status, code, problem) = import(&there, lines).await;
        assert_eq!((status, &*code), (422, "invalid-export"), "{problem}");
        details.push_str(problem["detail"].as_str().unwrap());
        details.push('\n');
    }
    let id = job.find("\"id\":\"").map(|at| &job[at + 6..at + 42]).unwrap();
    insta::assert_snapshot!(details.replace(id, "[job]"));
    assert_eq!(there.get("/api/sessions/demo").await.0, 404);
    let cut =
        Body::from_stream(futures_util::stream::iter([Ok(lines.clone()), Err(std::io::Error::other("cut"))]));
    assert_eq!(import(&there, cut).await.1, "malformed-json");
    let wrong = ask("POST", "/api/sessions:import").header("content-type", "application/json");
    assert_eq!(there.code(wrong, lines.clone()).await.1, "unsupported-media-type");
    assert_eq!(import(&there, lines).await.0, 201, "after all that");
}
