//! What admission refuses, as a client sees it, and when it admits again.

use std::num::NonZeroU32;
use std::time::Duration;

use mgx_apps::Usage;
use mgx_policies::{Policies, Rate, SessionBudget};
use mgx_scheduler::{Budget, Caps};
use serde_json::{Value, json};

use crate::testing::server::{TestServer, ask, policies, test_server_with_policies};
use crate::testing::show;

const JOBS: &str = "/api/sessions/demo/jobs";

async fn demo(policies: Policies) -> TestServer {
    let server = test_server_with_policies(policies).await;
    assert_eq!(server.post("/api/sessions", json!({ "session_id": "demo" })).await.0, 201);
    server
}

/// So many jobs at once, and one more each second.
fn rate(burst: u32) -> Policies {
    let rate = Rate { per_minute: NonZeroU32::new(60).unwrap(), burst: burst.try_into().unwrap() };
    Policies { rate, ..policies() }
}

fn job() -> Value {
    json!({ "prompt": "x" })
}

#[tokio::test]
async fn a_submission_above_the_rate_is_refused_with_the_time_to_retry_and_admitted_then() {
    let server = demo(rate(2)).await;
    for _ in 0..2 {
        assert_eq!(server.post(JOBS, job()).await.0, 202);
    }
    let keyed = || {
        let request = ask("POST", JOBS).header("content-type", "application/json");
        server.send(request.header("idempotency-key", "one"), job().to_string())
    };
    let refused = keyed().await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    let text = show(refused).await;
    insta::assert_snapshot!(text.split_once("\n\n").unwrap().1);
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(keyed().await.status(), 202, "a refusal that may pass is not kept for its key");
    assert_eq!(server.post(JOBS, job()).await.1, "rate-limited");
}

#[tokio::test]
async fn a_batch_is_admitted_as_far_as_the_rate_allows() {
    let server = demo(rate(2)).await;
    let batch = json!({ "jobs": [job(), { "prompt": "" }, job(), job()] });
    let (status, _, answer) = server.post(&format!("{JOBS}:batch"), batch.clone()).await;
    let codes: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|job| &job["problem"]["code"]).collect();
    let expected = [&Value::Null, &json!("validation"), &Value::Null, &json!("rate-limited")];
    assert_eq!((status, &codes[..]), (202, &expected[..]), "{answer}");
    let all = json!({ "jobs": [job(), job()] });
    assert_eq!(server.post(&format!("{JOBS}:batch"), all).await.1, "rate-limited");
}

#[tokio::test]
async fn a_session_whose_first_job_is_refused_is_not_made() {
    let server = demo(rate(1)).await;
    assert_eq!(server.post(JOBS, job()).await.0, 202);
    for (path, body) in [
        ("/api/sessions", json!({ "session_id": "other", "prompt": "x" })),
        ("/api/agent/generate", json!({ "session_id": "other", "prompt": "x" })),
    ] {
        assert_eq!(server.post(path, body).await.1, "rate-limited");
        assert_eq!(server.get("/api/sessions/other").await.0, 404);
    }
}

#[tokio::test]
async fn a_full_queue_costs_nothing_of_the_rate() {
    let server = demo(rate(6)).await;
    let batch = json!({ "jobs": [job(), job(), job(), job(), job(), job()] });
    let (_, _, answer) = server.post(&format!("{JOBS}:batch"), batch).await;
    assert_eq!(answer["accepted"], 3, "the queue is full");
    for _ in 0..2 {
        server.post(JOBS, job()).await;
    }
    let (_, code, problem) = server.post(JOBS, job()).await;
    assert_eq!((&*code, &problem["limit"]["name"]), ("queue-full", &json!("queue.max_queued")), "{problem}");
}

#[tokio::test]
async fn a_session_that_has_used_up_its_tokens_gets_no_new_work_for_agents() {
    let server =
        demo(Policies { allowance: SessionBudget { tokens: 100, ..SessionBudget::default() }, ..policies() })
            .await;
    let used = Usage { requests: 1, prompt_tokens: 60, completion_tokens: 39, cost_micros: 0 };
    let session = "demo".parse().unwrap();
    server.sessions.add_usage(&session, used).await.unwrap();
    assert_eq!(server.post(JOBS, job()).await.0, 202);
    server.sessions.add_usage(&session, used).await.unwrap();
    let (status, code, problem) = server.post(JOBS, job()).await;
    assert_eq!((status, &*code), (409, "budget-exhausted"));
    assert_eq!(problem["limit"], json!({ "name": "llm.max_tokens_per_session", "used": 198, "max": 100 }));
    assert_eq!(server.post(JOBS, json!({ "command": ["true"] })).await.0, 202, "a command needs no model");
    assert_eq!(
        server.post("/api/agent/generate", json!({ "session_id": "new", "prompt": "x" })).await.0,
        202
    );
}

#[tokio::test]
async fn what_could_never_run_is_refused_at_once() {
    let session = Budget { memory_bytes: 1 << 30, ..Budget::UNLIMITED };
    let server = demo(Policies { caps: Caps { session, ..Caps::of(1) }, ..policies() }).await;
    let (status, code, problem) = server.post(JOBS, job()).await;
    assert_eq!((status, &*code), (422, "quota-exceeded"));
    let limit = json!({ "name": "quotas.session_memory", "used": 2_u64 << 30, "max": 1 << 30 });
    assert_eq!((&problem["limit"], &problem["retryable"]), (&limit, &json!(false)), "{problem}");
    let less = json!({ "prompt": "x", "resources": { "memory": "1g" } });
    assert_eq!(server.post(JOBS, less).await.0, 202);
}
