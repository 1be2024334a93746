//! The proxy against a provider that does what a test tells it to.

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use support::{House, Says, limits};

fn hello() -> Value {
    json!({"model": "default", "messages": [{"role": "user", "content": "hello"}]})
}

fn streamed() -> Value {
    json!({"model": "default", "stream": true, "stream_options": {"include_usage": false}, "messages": [{"role": "user", "content": "hi"}]})
}

const DONE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn the_provider_sees_our_key_and_no_header_of_the_agents() {
    let house =
        House::with(vec![Says::json(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#)])
            .await;
    let request = House::request()
        .header("x-mgx-agent", "engineer")
        .header("cookie", "a=b")
        .header("openai-organization", "org-evil")
        .header("x-forwarded-for", "10.0.0.1")
        .header("accept-encoding", "gzip")
        .body(Body::from(hello().to_string()))
        .unwrap();
    let response = house.proxy.router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut names: Vec<_> = response.headers().keys().map(ToString::to_string).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "content-type"], "what the provider adds is dropped");
    support::text(response).await.unwrap();

    let seen = house.provider.seen();
    let (headers, body) = &seen[0];
    let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "authorization", "content-length", "content-type", "host", "user-agent"]);
    assert_eq!(headers["authorization"], "Bearer sk-real-key");
    assert_eq!(body["model"], "gpt-test", "`default` is the configured model");
    assert_eq!(body["messages"][0]["content"], "hello");
    assert_eq!(
        house.events(),
        [json!({"agent": "engineer", "model": "gpt-test", "prompt_tokens": 3, "completion_tokens": 2,
                "total_requests": 1, "total_tokens": 5})]
    );
}

#[tokio::test]
async fn a_stream_passes_in_order_and_reports_what_it_used() {
    let pieces = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"choices\":[{\"del",
        "ta\":{\"content\":\"b\"}}]}\n\n",
        DONE,
    ];
    let house = House::with(vec![Says::stream(&pieces)]).await;
    let response = house.send(&streamed()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(support::text(response).await.unwrap(), pieces.concat());
    assert_eq!(house.provider.seen()[0].1["stream_options"], json!({"include_usage": true}));
    assert_eq!(house.used(), (1, 11, 5));
}

#[tokio::test]
async fn a_provider_that_reports_no_usage_is_estimated() {
    let house = House::with(vec![Says::stream(&[
        "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\n\n",
        "data: [DONE]\n\n",
    ])])
    .await;
    support::text(house.send(&streamed()).await).await.unwrap();
    let event = &house.events()[0];
    assert_eq!((&event["estimated"], &event["completion_tokens"]), (&json!(true), &json!(2)));
}

#[tokio::test]
async fn a_stream_that_the_provider_cuts_is_cut_for_the_agent_too() {
    let house =
        House::with(vec![Says::cut(&["data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n"])]).await;
    let response = house.send(&streamed()).await;
    assert_eq!(response.status(), StatusCode::OK);
    support::text(response).await.expect_err("a cut must not look like an end");
    assert_eq!(house.provider.seen().len(), 1, "nothing is asked again once bytes were passed on");
    assert_eq!(house.used().0, 1, "what was sent is booked");
}

#[tokio::test]
async fn an_agent_that_hangs_up_pays_for_what_it_got() {
    let house = House::with(vec![Says::silent(&[
        "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\n\n",
    ])])
    .await;
    let mut body = house.send(&streamed()).await.into_body().into_data_stream();
    futures_util::StreamExt::next(&mut body).await.unwrap().unwrap();
    drop(body);
    let booked = tokio::time::timeout(Duration::from_secs(5), house.next_event()).await.unwrap();
    assert_eq!((&booked["estimated"], &booked["completion_tokens"]), (&json!(true), &json!(2)));
}

#[tokio::test]
async fn a_busy_provider_is_asked_again() {
    let busy = Says::status(429, r#"{"error":{"message":"slow down"}}"#).header("retry-after", "0");
    let house = House::with(vec![busy, Says::status(503, ""), Says::json("{}")]).await;
    let response = house.send(&hello()).await;
    assert_eq!(response.status(), StatusCode::OK);
    support::text(response).await.unwrap();
    assert_eq!(house.provider.seen().len(), 3);
    assert_eq!(house.used().0, 1, "only what reached a model counts");
}

#[tokio::test]
async fn every_failure_says_who_can_act_and_never_the_key() {
    let mut report = String::new();
    for (status, body) in [
        (500, r#"{"error":{"message":"boom for sk-real-key"}}"#),
        (401, r#"{"error":{"message":"Incorrect API key provided: sk-real-key"}}"#),
        (400, r#"{"error":{"message":"context too long, sk-real-key","code":"context_length_exceeded"}}"#),
        (429, r#"{"error":"quota of sk-real-key"}"#),
        (302, "moved to sk-real-key"),
    ] {
        let says = || Says::status(status, body).header("x-secret", "sk-real-key");
        let house = House::with(vec![says(), says(), says()]).await;
        let response = house.send(&hello()).await;
        let (answered, headers) = (response.status(), format!("{:?}", response.headers()));
        let text = support::text(response).await.unwrap();
        assert!(!text.contains("sk-real-key") && !headers.contains("sk-real-key"), "{text} {headers}");
        let tries = house.provider.seen().len();
        writeln!(report, "provider {status}, {tries} tries -> {answered}\n  {text}").unwrap();
        assert_eq!(house.used(), (0, 0, 0));
        assert!(!format!("{:?}", house.proxy).contains("sk-real-key"));
    }
    insta::assert_snapshot!(report);
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let mut house = House::with(vec![Says::silent(&[])]).await;
    let response = house.send(&hello()).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(support::error(response).await["code"], "provider_timeout");
    house.provider.leave().await;
    let response = house.send(&hello()).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(support::error(response).await["code"], "provider_unreachable");
}

#[tokio::test]
async fn only_tokens_of_live_attempts_are_let_in() {
    let house = House::with(vec![Says::json("{}")]).await;
    for (authorization, live) in
        [(None, true), (Some("Bearer wrong"), true), (Some("Basic good"), true), (Some("Bearer good"), false)]
    {
        house.attempts.live(live);
        for (method, uri) in [("POST", "/v1/chat/completions"), ("GET", "/v1/models")] {
            let mut request = Request::builder().method(method).uri(uri);
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let request = request.body(Body::from(hello().to_string())).unwrap();
            let response = house.proxy.router().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{authorization:?}");
            assert_eq!(support::error(response).await["code"], "invalid_api_key");
        }
    }
    assert!(house.provider.seen().is_empty());
}

#[tokio::test]
async fn a_budget_is_kept_and_its_end_is_explained() {
    let usage = r#"{"usage":{"prompt_tokens":60,"completion_tokens":40}}"#;
    for (limits, limit) in [(limits(2, 0, 0), "max_requests"), (limits(0, 150, 0), "max_tokens")] {
        let house = House::limited(vec![Says::json(usage), Says::json(usage)], limits).await;
        for _ in 0..2 {
            let response = house.send(&hello()).await;
            assert_eq!(response.status(), StatusCode::OK);
            support::text(response).await.unwrap();
        }
        let response = house.send(&hello()).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let error = support::error(response).await;
        assert_eq!(
            (&error["code"], &error["limit"], &error["retryable"]),
            (&json!("budget_exhausted"), &json!(limit), &json!(false))
        );
        assert_eq!(house.provider.seen().len(), 2, "checked before anything is sent");
    }
}

#[tokio::test]
async fn what_a_session_costs_is_booked_and_has_an_end() {
    let usage = r#"{"usage":{"prompt_tokens":1000,"completion_tokens":500}}"#;
    let limits = LlmLimits { max_cost_micros: 12_000, ..LlmLimits::default() };
    let house = House::limited(vec![Says::json(usage), Says::json(usage), Says::json(usage)], limits).await;
    let priced = json!({"model": "gpt-allowed", "messages": [{"role": "user", "content": "hello"}]});
    for total in [6000, 12_000] {
        support::text(house.send(&priced).await).await.unwrap();
        let event = house.events().pop().unwrap();
        assert_eq!((&event["cost_micros"], &event["total_cost_micros"]), (&json!(6000), &json!(total)));
    }
    let error = support::error(house.send(&priced).await).await;
    assert_eq!(
        (&error["code"], &error["limit"], &error["value"], &error["used"], &error["retryable"]),
        (
            &json!("budget_exhausted"),
            &json!("max_cost_micros"),
            &json!(12_000),
            &json!(12_000),
            &json!(false)
        )
    );
    assert_eq!(house.provider.seen().len(), 2, "checked before anything is sent");
}

#[tokio::test]
async fn a_model_without_a_price_is_not_asked_if_costs_are_limited() {
    let limits = LlmLimits { max_cost_micros: 12_000, ..LlmLimits::default() };
    let house = House::limited(vec![], limits).await;
    let response = house.send(&hello()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(support::error(response).await["code"], "model_without_price");
    assert!(house.provider.seen().is_empty());
}

#[tokio::test]
async fn requests_under_way_count_against_the_budget() {
    let house = House::limited(vec![Says::silent(&["data: {}\n\n"])], limits(1, 0, 0)).await;
    let first = house.send(&streamed()).await;
    assert_eq!(house.send(&streamed()).await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(first);
}

#[tokio::test]
async fn the_rate_of_an_attempt_is_bounded() {
    let house = House::limited(vec![Says::json("{}"), Says::json("{}")], limits(0, 0, 1)).await;
    assert_eq!(house.send(&hello()).await.status(), StatusCode::OK);
    let response = house.send(&hello()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(support::error(response).await["code"], "rate_limit_exceeded");
}

#[tokio::test]
async fn what_is_not_a_request_is_refused_in_openais_shape() {
    let house = House::with(vec![]).await;
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
            house.proxy.router().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{method} {uri}");
        assert_eq!(support::error(response).await["code"], code, "{method} {uri}");
    }
    assert!(house.provider.seen().is_empty());
}

#[tokio::test]
async fn without_a_provider_the_demo_model_answers_and_says_so() {
    let house = House::demo();
    let response = house.send(&hello()).await;
    let answer: Value = serde_json::from_str(&support::text(response).await.unwrap()).unwrap();
    assert_eq!((&answer["model"], &answer["system_fingerprint"]), (&json!("mgx-demo"), &json!("mgx-demo")));
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().starts_with("[demo model]"));
    assert_eq!(house.used().0, 1);
    let request =
        Request::get("/v1/models").header("authorization", "Bearer good").body(Body::empty()).unwrap();
    let models = support::text(house.proxy.router().oneshot(request).await.unwrap()).await.unwrap();
    insta::assert_snapshot!(models);
}

mod tunnels;
