//! Tests of the proxy, with a provider whose answers each test scripts.

mod support;

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::*;
use support::{ScriptedAnswer, TestProxy, limits};

fn hello() -> Value {
    json!({"model": "default", "messages": [{"role": "user", "content": "hello"}]})
}

fn streamed() -> Value {
    json!({"model": "default", "stream": true, "stream_options": {"include_usage": false}, "messages": [{"role": "user", "content": "hi"}]})
}

const DONE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn the_provider_gets_the_platforms_key_and_none_of_the_agents_headers() {
    let proxy = TestProxy::with(vec![ScriptedAnswer::json(
        r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
    )])
    .await;
    let request = TestProxy::request()
        .header("x-mgx-agent", "engineer")
        .header("cookie", "a=b")
        .header("openai-organization", "org-evil")
        .header("x-forwarded-for", "10.0.0.1")
        .header("accept-encoding", "gzip")
        .body(Body::from(hello().to_string()))
        .unwrap();
    let response = proxy.llm.router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut names: Vec<_> = response.headers().keys().map(ToString::to_string).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "content-type"], "the provider's headers are dropped");
    support::text(response).await.unwrap();

    let requests = proxy.provider.requests();
    let (headers, body) = &requests[0];
    let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "user-agent"
        ]
    );
    assert_eq!(headers["authorization"], "Bearer sk-real-key");
    assert_eq!(body["model"], "gpt-test", "`default` is the configured model");
    assert_eq!(body["messages"][0]["content"], "hello");
    assert_eq!(
        proxy.events(),
        [json!({"agent": "engineer", "model": "gpt-test", "prompt_tokens": 3, "completion_tokens": 2,
                "total_requests": 1, "total_tokens": 5})]
    );
}

#[tokio::test]
async fn a_stream_is_passed_on_in_order_and_its_usage_is_recorded() {
    let pieces = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"choices\":[{\"del",
        "ta\":{\"content\":\"b\"}}]}\n\n",
        DONE,
    ];
    let proxy = TestProxy::with(vec![ScriptedAnswer::stream(&pieces)]).await;
    let response = proxy.send(&streamed()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(support::text(response).await.unwrap(), pieces.concat());
    assert_eq!(proxy.provider.requests()[0].1["stream_options"], json!({"include_usage": true}));
    assert_eq!(proxy.used(), (1, 11, 5));
}

/// A new connection for each reply would cost a TLS handshake each time.
#[tokio::test]
async fn a_connection_to_the_provider_serves_the_next_reply() {
    const REPLIES: usize = 10;
    let answers = (0..REPLIES).map(|_| ScriptedAnswer::stream(&[DONE])).collect();
    let proxy = TestProxy::with(answers).await;
    for _ in 0..REPLIES {
        support::text(proxy.send(&streamed()).await).await.unwrap();
    }
    let connections = proxy.provider.connections();
    assert!(
        connections <= REPLIES / 2,
        "{connections} connections for {REPLIES} replies, one after the other"
    );
}

/// Otherwise the agent's next request might pass a budget that this reply has used up.
#[tokio::test]
async fn the_usage_of_a_reply_is_recorded_before_its_end_mark_is_passed_on() {
    let proxy = TestProxy::with(vec![ScriptedAnswer::stream(&[DONE])]).await;
    let mut body = proxy.send(&streamed()).await.into_body();
    loop {
        let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
        if bytes.ends_with(b"data: [DONE]\n\n") {
            break;
        }
    }
    assert_eq!(proxy.used(), (1, 11, 5));
}

#[tokio::test]
async fn the_usage_that_a_provider_does_not_report_is_estimated() {
    let proxy = TestProxy::with(vec![ScriptedAnswer::stream(&[
        "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\n\n",
        "data: [DONE]\n\n",
    ])])
    .await;
    support::text(proxy.send(&streamed()).await).await.unwrap();
    let event = &proxy.events()[0];
    assert_eq!((&event["estimated"], &event["completion_tokens"]), (&json!(true), &json!(2)));
}

#[tokio::test]
async fn a_stream_that_the_provider_interrupts_is_interrupted_for_the_agent() {
    let proxy = TestProxy::with(vec![ScriptedAnswer::cut(&[
        "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n",
    ])])
    .await;
    let response = proxy.send(&streamed()).await;
    assert_eq!(response.status(), StatusCode::OK);
    support::text(response).await.expect_err("a cut must not look like an end");
    assert_eq!(proxy.provider.requests().len(), 1, "no retry once bytes were passed on");
    assert_eq!(proxy.used().0, 1, "what was sent is recorded");
}

#[tokio::test]
async fn an_agent_that_closes_the_connection_is_charged_for_what_it_received() {
    let proxy = TestProxy::with(vec![ScriptedAnswer::silent(&[
        "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\n\n",
    ])])
    .await;
    let mut body = proxy.send(&streamed()).await.into_body().into_data_stream();
    futures_util::StreamExt::next(&mut body).await.unwrap().unwrap();
    drop(body);
    let booked = tokio::time::timeout(Duration::from_secs(5), proxy.next_event()).await.unwrap();
    assert_eq!((&booked["estimated"], &booked["completion_tokens"]), (&json!(true), &json!(2)));
}

#[tokio::test]
async fn an_unreachable_provider_and_a_silent_one_are_distinguished() {
    let mut proxy = TestProxy::with(vec![ScriptedAnswer::silent(&[])]).await;
    let response = proxy.send(&hello()).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(support::error(response).await["code"], "provider_timeout");
    proxy.provider.stop().await;
    let response = proxy.send(&hello()).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(support::error(response).await["code"], "provider_unavailable");
}

#[tokio::test]
async fn only_tokens_of_running_attempts_are_accepted() {
    let proxy = TestProxy::with(vec![ScriptedAnswer::json("{}")]).await;
    for (authorization, live) in
        [(None, true), (Some("Bearer wrong"), true), (Some("Basic good"), true), (Some("Bearer good"), false)]
    {
        proxy.attempts.set_live(live);
        for (method, uri) in [("POST", "/v1/chat/completions"), ("GET", "/v1/models")] {
            let mut request = Request::builder().method(method).uri(uri);
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let request = request.body(Body::from(hello().to_string())).unwrap();
            let response = proxy.llm.router().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{authorization:?}");
            assert_eq!(support::error(response).await["code"], "invalid_api_key");
        }
    }
    assert!(proxy.provider.requests().is_empty());
}

#[tokio::test]
async fn a_budget_is_enforced_and_the_refusal_names_the_limit() {
    let usage = r#"{"usage":{"prompt_tokens":60,"completion_tokens":40}}"#;
    for (limits, limit) in
        [(limits(2, 0, 0), "llm.max_requests_per_session"), (limits(0, 150, 0), "llm.max_tokens_per_session")]
    {
        let proxy =
            TestProxy::limited(vec![ScriptedAnswer::json(usage), ScriptedAnswer::json(usage)], limits).await;
        for _ in 0..2 {
            let response = proxy.send(&hello()).await;
            assert_eq!(response.status(), StatusCode::OK);
            support::text(response).await.unwrap();
        }
        let response = proxy.send(&hello()).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let error = support::error(response).await;
        assert_eq!(
            (&error["code"], &error["limit"], &error["retryable"]),
            (&json!("budget_exhausted"), &json!(limit), &json!(false))
        );
        assert_eq!(proxy.provider.requests().len(), 2, "checked before anything is sent");
    }
}

#[tokio::test]
async fn the_cost_of_a_session_is_recorded_and_limited() {
    let usage = r#"{"usage":{"prompt_tokens":1000,"completion_tokens":500}}"#;
    let session = UsageLimits { max_cost_micros: 12_000, ..UsageLimits::default() };
    let limits = LlmLimits { session, ..LlmLimits::default() };
    let proxy = TestProxy::limited(
        vec![ScriptedAnswer::json(usage), ScriptedAnswer::json(usage), ScriptedAnswer::json(usage)],
        limits,
    )
    .await;
    let priced = json!({"model": "gpt-allowed", "messages": [{"role": "user", "content": "hello"}]});
    for total in [6000, 12_000] {
        support::text(proxy.send(&priced).await).await.unwrap();
        let event = proxy.events().pop().unwrap();
        assert_eq!((&event["cost_micros"], &event["total_cost_micros"]), (&json!(6000), &json!(total)));
    }
    let error = support::error(proxy.send(&priced).await).await;
    assert_eq!(
        (&error["code"], &error["limit"], &error["value"], &error["used"], &error["retryable"]),
        (
            &json!("budget_exhausted"),
            &json!("llm.max_cost_per_session"),
            &json!(12_000),
            &json!(12_000),
            &json!(false)
        )
    );
    assert_eq!(proxy.provider.requests().len(), 2, "checked before anything is sent");
}

#[tokio::test]
async fn jobs_and_users_have_budgets_that_are_told_before_they_bind() {
    let usage = r#"{"usage":{"prompt_tokens":60,"completion_tokens":30,"prompt_cache_hit_tokens":50}}"#;
    let max = UsageLimits { max_tokens: 100, ..UsageLimits::default() };
    for (limits, limit) in [
        (LlmLimits { job: max, ..LlmLimits::default() }, "llm.max_tokens_per_job"),
        (LlmLimits { user_per_day: max, ..LlmLimits::default() }, "llm.max_tokens_per_user_per_day"),
    ] {
        let answers = vec![ScriptedAnswer::json(usage), ScriptedAnswer::json(usage)];
        let proxy = TestProxy::limited(answers, limits).await;
        support::text(proxy.send(&hello()).await).await.unwrap();
        let event = proxy.events().pop().unwrap();
        assert_eq!(event["budget"], json!([{ "limit": limit, "value": 100, "used": 90 }]));
        assert!(event["warning"].as_str().unwrap().starts_with("90 % of "), "{event}");
        assert_eq!(event["cached_tokens"], 50);
        support::text(proxy.send(&hello()).await).await.unwrap();
        let error = support::error(proxy.send(&hello()).await).await;
        assert_eq!((&error["code"], &error["limit"]), (&json!("budget_exhausted"), &json!(limit)));
    }
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_if_costs_are_limited() {
    let session = UsageLimits { max_cost_micros: 12_000, ..UsageLimits::default() };
    let limits = LlmLimits { session, ..LlmLimits::default() };
    let proxy = TestProxy::limited(vec![], limits).await;
    let response = proxy.send(&hello()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(support::error(response).await["code"], "model_without_price");
    assert!(proxy.provider.requests().is_empty());
}

#[tokio::test]
async fn requests_in_flight_count_against_the_budget() {
    let proxy = TestProxy::limited(vec![ScriptedAnswer::silent(&["data: {}\n\n"])], limits(1, 0, 0)).await;
    let first = proxy.send(&streamed()).await;
    assert_eq!(proxy.send(&streamed()).await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(first);
}

#[tokio::test]
async fn the_request_rate_of_an_attempt_is_limited() {
    let proxy =
        TestProxy::limited(vec![ScriptedAnswer::json("{}"), ScriptedAnswer::json("{}")], limits(0, 0, 1))
            .await;
    assert_eq!(proxy.send(&hello()).await.status(), StatusCode::OK);
    let response = proxy.send(&hello()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(support::error(response).await["code"], "rate_limit_exceeded");
}

#[tokio::test]
async fn invalid_requests_are_refused_in_openais_shape() {
    let proxy = TestProxy::with(vec![]).await;
    let big = format!("{{\"messages\":[\"{}\"]}}", "x".repeat(5 * 1024 * 1024));
    for (method, uri, body, status, code) in [
        ("POST", "/v1/chat/completions", "nonsense", 400, "invalid_request"),
        ("POST", "/v1/chat/completions", r#"{"messages":[]}"#, 400, "invalid_request"),
        ("POST", "/v1/chat/completions", r#"{"model":7,"messages":[1]}"#, 400, "invalid_request"),
        ("POST", "/v1/chat/completions", r#"{"model":"gpt-other","messages":[1]}"#, 404, "model_not_found"),
        ("POST", "/v1/chat/completions", big.as_str(), 413, "request_too_large"),
        ("POST", "/v1/embeddings", "{}", 404, "unknown_url"),
        ("DELETE", "/v1/models", "", 404, "unknown_url"),
    ] {
        let request = Request::builder().method(method).uri(uri).header("authorization", "Bearer good");
        let response =
            proxy.llm.router().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{method} {uri}");
        assert_eq!(support::error(response).await["code"], code, "{method} {uri}");
    }
    assert!(proxy.provider.requests().is_empty());
}

#[tokio::test]
async fn without_a_provider_the_demo_model_answers_under_its_own_name() {
    let proxy = TestProxy::demo();
    let response = proxy.send(&hello()).await;
    let answer: Value = serde_json::from_str(&support::text(response).await.unwrap()).unwrap();
    assert_eq!((&answer["model"], &answer["system_fingerprint"]), (&json!("mgx-demo"), &json!("mgx-demo")));
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().starts_with("[demo model]"));
    assert_eq!(proxy.used().0, 1);
    let request =
        Request::get("/v1/models").header("authorization", "Bearer good").body(Body::empty()).unwrap();
    let models = support::text(proxy.llm.router().oneshot(request).await.unwrap()).await.unwrap();
    insta::assert_snapshot!(models);
}

mod failures;
mod tunnels;
