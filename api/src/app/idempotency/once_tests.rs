//! `Idempotency-Key`, batches and the timeline, called as a client calls them.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Response;
use http_body_util::BodyExt;
use jiff::Timestamp;
use mgx_apps::{Intent, IntentBounds, IntentStore, Recorded, StoreError};
use serde_json::{Value, json};

use crate::testing::server::{TestServer, ask, test_server, test_server_over};
use crate::testing::show;

const JOBS: &str = "/api/sessions/demo/jobs";

/// A store that cannot keep an answer: as if the platform's process ended after its work, every time.
#[derive(Debug)]
struct Forgetful(Arc<dyn IntentStore>);

#[async_trait]
impl IntentStore for Forgetful {
    async fn record(
        &self,
        intent: &Intent,
        since: Timestamp,
        most: IntentBounds,
    ) -> Result<Recorded, StoreError> {
        self.0.record(intent, since, most).await
    }
    async fn answer(&self, _: &Intent, _: Vec<u8>) -> Result<bool, StoreError> {
        Err(StoreError::Unavailable("the disk is gone".into()))
    }
    async fn withdraw(&self, intent: &Intent) -> Result<bool, StoreError> {
        self.0.withdraw(intent).await
    }
    async fn forget_intents(&self, since: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.0.forget_intents(since, limit).await
    }
}

/// A store that is full of keys.
#[derive(Debug)]
struct Full;

#[async_trait]
impl IntentStore for Full {
    async fn record(&self, _: &Intent, _: Timestamp, _: IntentBounds) -> Result<Recorded, StoreError> {
        Ok(Recorded::Full)
    }
    async fn answer(&self, _: &Intent, _: Vec<u8>) -> Result<bool, StoreError> {
        Ok(false)
    }
    async fn withdraw(&self, _: &Intent) -> Result<bool, StoreError> {
        Ok(false)
    }
    async fn forget_intents(&self, _: Timestamp, _: usize) -> Result<usize, StoreError> {
        Ok(0)
    }
}

impl TestServer {
    async fn keyed(&self, path: &str, key: &str, body: &Value) -> Response<Body> {
        let request = ask("POST", path).header("content-type", "application/json");
        self.send(request.header("idempotency-key", key), body.to_string()).await
    }

    async fn jobs(&self) -> usize {
        self.get("/api/jobs").await.2["jobs"].as_array().map_or(0, Vec::len)
    }
}

async fn json(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

fn is_replay(response: &Response<Body>) -> bool {
    response.headers().get("idempotency-replayed").is_some_and(|value| value == "true")
}

/// A server with the session `demo`.
async fn demo() -> TestServer {
    let server = test_server().await;
    assert_eq!(server.post("/api/sessions", json!({ "session_id": "demo" })).await.0, 201);
    server
}

#[tokio::test]
async fn the_same_request_is_done_once_and_answered_alike() {
    let server = demo().await;
    let body = json!({ "prompt": "x" });
    let first = server.keyed(JOBS, "key-1", &body).await;
    assert!(!is_replay(&first));
    let location = first.headers()["location"].clone();
    let (status, first) = (first.status(), json(first).await);
    for key in ["key-1", "\"key-1\""] {
        let again = server.keyed(JOBS, key, &body).await;
        assert!(is_replay(&again));
        assert_eq!((again.status(), &again.headers()["location"]), (status, &location));
        assert_eq!(again.headers()["content-type"], "application/json");
        assert_eq!(json(again).await, first);
    }
    assert_eq!((status.as_u16(), server.jobs().await), (202, 1));

    let other = json(server.keyed(JOBS, "key-2", &body).await).await;
    assert_ne!(other["job_id"], first["job_id"], "another key is another request");
    let elsewhere = server.keyed("/api/sessions", "key-1", &json!({ "session_id": "other" })).await;
    assert_eq!(
        (elsewhere.status().as_u16(), is_replay(&elsewhere)),
        (201, false),
        "a key counts for one path"
    );
}

#[tokio::test]
async fn a_key_of_another_request_is_refused() {
    let server = demo().await;
    server.keyed(JOBS, "key", &json!({ "prompt": "x" })).await;
    let mut text = show(server.keyed(JOBS, "key", &json!({ "prompt": "y" })).await).await;
    let id = text.find("x-request-id: ").unwrap() + 14;
    text.replace_range(id..id + 36, "[id]");
    insta::assert_snapshot!(text);
    for key in ["", "two words", &"x".repeat(256)] {
        let request = ask("POST", JOBS).header("idempotency-key", key);
        assert_eq!(server.code(request, Body::empty()).await.1, "invalid-idempotency-key", "{key:?}");
    }
    assert_eq!(server.jobs().await, 1);
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_finds_what_it_made() {
    let server = test_server_over(false, 8, |store| Arc::new(Forgetful(store))).await;
    let session = json!({ "prompt": "x" });
    let first = server.keyed("/api/sessions", "key", &session).await;
    assert_eq!(first.status(), 201);
    let first = json(first).await;
    let again = server.keyed("/api/sessions", "key", &session).await;
    assert_eq!((again.status().as_u16(), is_replay(&again)), (201, false), "it was made by this request");
    let again = json(again).await;
    assert_eq!(
        (&again["session_id"], &again["job"]["job_id"]),
        (&first["session_id"], &first["job"]["job_id"])
    );
    let path = format!("/api/sessions/{}/jobs:batch", first["session_id"].as_str().unwrap());
    let batch = json!({ "jobs": [{ "prompt": "a" }, { "prompt": "b" }] });
    let ids =
        |answer: Value| answer["results"].as_array().unwrap().iter().map(|r| r["job_id"].clone()).collect();
    let first: Vec<Value> = ids(json(server.keyed(&path, "key", &batch).await).await);
    let again: Vec<Value> = ids(json(server.keyed(&path, "key", &batch).await).await);
    assert_eq!(first, again);
    assert!(first.iter().all(Value::is_string) && first[0] != first[1]);
    assert_eq!(
        (server.jobs().await, server.get("/api/sessions").await.2["sessions"].as_array().unwrap().len()),
        (3, 1)
    );
}

#[tokio::test]
async fn a_request_whose_key_cannot_be_stored_does_nothing() {
    let server = test_server_over(false, 8, |_| Arc::new(Full)).await;
    let refused = server.keyed("/api/sessions", "key", &json!({ "session_id": "demo" })).await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "600"));
    assert_eq!(json(refused).await["code"], "too-many-keys");
    assert_eq!(server.get("/api/sessions/demo").await.0, 404);
    assert_eq!(
        server.post("/api/sessions", json!({ "session_id": "demo" })).await.0,
        201,
        "without one it goes on"
    );
}

#[tokio::test]
async fn two_simultaneous_requests_with_one_key_are_done_once() {
    let server = demo().await;
    let body = json!({ "prompt": "x" });
    let (first, second) = tokio::join!(server.keyed(JOBS, "key", &body), server.keyed(JOBS, "key", &body));
    assert!(is_replay(&first) != is_replay(&second), "one of them waited for the other");
    assert_eq!(json(first).await, json(second).await);
    assert_eq!(server.jobs().await, 1);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_to_the_corrected_one() {
    let server = demo().await;
    let body = json!({ "prompt": "x" });
    let mut waiting = Value::Null;
    loop {
        let (status, code, job) = server.post(JOBS, body.clone()).await;
        match status {
            202 => waiting = job["job_id"].clone(),
            _ => break assert_eq!(code, "queue-full"),
        }
    }
    assert_eq!(server.keyed(JOBS, "key", &body).await.status(), 429);
    let mut bell = server.scheduler.log().subscribe(&"demo".parse().unwrap());
    let path = format!("/api/jobs/{}", waiting.as_str().unwrap());
    server.post(&format!("{path}/cancel"), json!({})).await;
    while server.get(&path).await.2["state"] != "cancelled" {
        bell.changed().await.unwrap();
    }
    let accepted = server.keyed(JOBS, "key", &body).await;
    assert_eq!((accepted.status().as_u16(), is_replay(&accepted)), (202, false));
}

#[tokio::test]
async fn a_key_is_not_used_up_by_a_refusal_of_any_kind() {
    let server = demo().await;
    server.post("/api/sessions", json!({ "session_id": "other", "framework": "nextjs" })).await;
    let taken = json!({ "session_id": "other", "framework": "fastapi-vite" });
    for (path, refused, status, corrected) in [
        (JOBS, json!({ "prompt": "" }), 422, json!({ "prompt": "x" })),
        (JOBS, json!({ "prompt": "x", "unknown": 1 }), 422, json!({ "prompt": "x" })),
        ("/api/sessions/none/jobs", json!({ "prompt": "x" }), 404, Value::Null),
        ("/api/sessions", taken, 409, json!({ "session_id": "third" })),
        ("/api/sessions/demo/jobs:batch", json!({ "jobs": [] }), 422, json!({ "jobs": [{ "prompt": "x" }] })),
    ] {
        let key = format!("key-{status}-{}", refused.to_string().len());
        for _ in 0..2 {
            let answer = server.keyed(path, &key, &refused).await;
            assert_eq!((answer.status().as_u16(), is_replay(&answer)), (status, false), "{path} {refused}");
        }
        if corrected.is_null() {
            continue;
        }
        let first = server.keyed(path, &key, &corrected).await;
        assert!(first.status().is_success() && !is_replay(&first), "{path}: {first:?}");
        assert!(is_replay(&server.keyed(path, &key, &corrected).await));
        let other = server.keyed(path, &key, &refused).await;
        assert_eq!(json(other).await["code"], "idempotency-mismatch", "now the key is used");
    }
}

#[tokio::test]
async fn each_job_of_a_batch_is_accepted_or_refused_by_itself() {
    let server = demo().await;
    let batch = json!({ "jobs": [
        { "prompt": "a" }, { "prompt": "b", "timeout_s": -1 }, { "command": [] }, { "prompt": "c" },
        { "prompt": "d" }, { "prompt": "e" },
    ] });
    let (status, _, answer) = server.post("/api/sessions/demo/jobs:batch", batch).await;
    assert_eq!((status, &answer["accepted"]), (202, &json!(3)), "{answer}");
    insta::assert_json_snapshot!(answer, { ".results[].job_id" => "[id]", ".results[].eta_ms" => "[eta]" });
    let ids: Vec<&str> =
        answer["results"].as_array().unwrap().iter().filter_map(|r| r["job_id"].as_str()).collect();
    assert!(ids.len() == 3 && ids.is_sorted());
    for id in ids {
        assert_eq!(server.get(&format!("/api/jobs/{id}")).await.0, 200, "it is stored");
    }
}

#[tokio::test]
async fn an_invalid_batch_is_refused_whole() {
    let server = demo().await;
    let many = json!({ "jobs": vec![json!({ "prompt": "x" }); 1001] });
    for (body, pointer) in [
        (json!({ "jobs": [] }), "/jobs"),
        (many, "/jobs"),
        (json!({ "jobs": {} }), "/jobs"),
        (json!({ "jobs": [], "job": 1 }), "/job"),
    ] {
        let (status, code, problem) = server.post("/api/sessions/demo/jobs:batch", body).await;
        assert_eq!((status, &*code), (422, "validation"), "{problem}");
        assert!(problem["errors"][0]["pointer"].as_str().unwrap().starts_with(pointer), "{problem}");
    }
    assert_eq!(server.post("/api/sessions/none/jobs:batch", json!({ "jobs": [] })).await.1, "not-found");
    assert_eq!(server.jobs().await, 0);

    let batch = json!({ "jobs": vec![json!({ "prompt": "x" }); 10] });
    assert_eq!(server.post("/api/sessions/demo/jobs:batch", batch.clone()).await.0, 202);
    while server.post(JOBS, json!({ "prompt": "x" })).await.0 == 202 {}
    assert_eq!(
        server.post("/api/sessions/demo/jobs:batch", batch).await.1,
        "queue-full",
        "no job was accepted"
    );
}

#[tokio::test]
async fn a_timeline_begins_with_the_queue_and_ends_with_the_finish() {
    let server = test_server().await;
    server.finished_session().await;
    let (_, _, jobs) = server.get("/api/jobs").await;
    let id = jobs["jobs"][0]["job_id"].as_str().unwrap();
    let (status, _, timeline) = server.get(&format!("/api/jobs/{id}/timeline")).await;
    assert_eq!((status, &timeline["state"]), (200, &json!("failed")), "{timeline}");
    let stages: Vec<_> = timeline["attempts"][0]["stages"].as_array().unwrap().iter().collect();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["queued", "admitted", "starting", "finish"]);
    assert_eq!(stages[0]["start_ms"], 0);
    assert_eq!(stages[3]["end_ms"], timeline["elapsed_ms"]);
    let (status, code, _) = server.get("/api/jobs/00000000-0000-7000-8000-000000000000/timeline").await;
    assert_eq!((status, &*code), (404, "not-found"));
}

#[tokio::test]
async fn a_waiting_job_is_explained() {
    let server = demo().await;
    let (_, _, first) = server.post(JOBS, json!({ "prompt": "x" })).await;
    let (_, _, second) = server.post(JOBS, json!({ "prompt": "x" })).await;
    let path = |job: &Value| format!("/api/jobs/{}", job["job_id"].as_str().unwrap());
    let mut bell = server.scheduler.log().subscribe(&"demo".parse().unwrap());
    while server.get(&path(&first)).await.2["state"] == "queued" {
        bell.changed().await.unwrap();
    }
    server.queued_job(&path(&second)).await;
    let (status, _, why) = server.get(&format!("{}/explain", path(&second))).await;
    assert_eq!((status, &why["waits_for"], &why["position"]), (200, &json!("limit"), &json!(1)), "{why}");
    assert_eq!(why["binding"]["holders"][0]["job_id"], first["job_id"], "{why}");
    assert!(why["remedy"].as_str().unwrap().contains(first["job_id"].as_str().unwrap()), "{why}");
    let (_, _, why) = server.get(&format!("{}/explain", path(&first))).await;
    assert_eq!(why["waits_for"], "container", "{why}");
    let (status, code, _) = server.get("/api/jobs/00000000-0000-7000-8000-000000000000/explain").await;
    assert_eq!((status, &*code), (404, "not-found"));
}

#[tokio::test]
async fn every_post_is_described_with_its_key() {
    let (_, _, api) = test_server().await.get("/openapi.json").await;
    let posts: Vec<_> =
        api["paths"].as_object().unwrap().iter().filter(|(_, item)| item["post"].is_object()).collect();
    assert!(posts.len() >= 5, "{posts:?}");
    for (path, item) in posts {
        let mut parameters = item["post"]["parameters"].as_array().into_iter().flatten();
        let has_secrets = ["/api/admin/", "/api/apps/"].iter().any(|prefix| path.starts_with(prefix))
            || matches!(&**path, "/api/tokens" | "/api/me/password");
        let key = parameters.find(|parameter| parameter["name"] == "Idempotency-Key");
        let wanted = (!has_secrets).then(|| json!("header"));
        assert_eq!(key.map(|key| &key["in"]), wanted.as_ref(), "{path}");
    }
}
