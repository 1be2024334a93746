//! Providers that fail, refuse, and quote what they were sent.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{self, ScriptedAnswer, TestProxy};
use super::{DONE, hello, streamed};

#[tokio::test]
async fn a_busy_provider_is_asked_once_and_the_agent_is_told_how_long_to_wait() {
    let busy =
        ScriptedAnswer::status(429, r#"{"error":{"message":"slow down"}}"#).header("retry-after", "1.5");
    let proxy =
        TestProxy::with(vec![busy, ScriptedAnswer::status(503, ""), ScriptedAnswer::json("{}")]).await;
    let error = support::error(proxy.send(&hello()).await).await;
    assert_eq!(
        (&error["code"], &error["retryable"], &error["retry_after_ms"]),
        (&json!("provider_rate_limited"), &json!(true), &json!(1500))
    );
    assert!(error["message"].as_str().unwrap().contains("slow down"));
    let error = support::error(proxy.send(&hello()).await).await;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("provider_unavailable"), &json!(true)));
    assert_eq!(proxy.provider.requests().len(), 2);
    assert_eq!(proxy.used().0, 0, "only requests that a model answered count");
}

#[tokio::test]
async fn an_error_in_a_good_answer_is_an_error() {
    let error = r#"{"error":{"message":"the context is too long: maximum context length 10","code":400}}"#;
    for answer in
        [ScriptedAnswer::json(error), ScriptedAnswer::stream(&[&format!(": hello\n\ndata: {error}\n\n")])]
    {
        let proxy = TestProxy::with(vec![answer]).await;
        let error = support::error(proxy.send(&streamed()).await).await;
        assert_eq!((&error["code"], &error["retryable"]), (&json!("context_length_exceeded"), &json!(false)));
    }
    let late = ScriptedAnswer::silent(&[
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"object\":\"error\",\"message\":\"overloaded, says sk-real-key\",\"code\":503}\n\n",
    ]);
    let proxy = TestProxy::with(vec![late]).await;
    let text = support::text(proxy.send(&streamed()).await).await.unwrap();
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&error["error"]["code"], &error["error"]["retryable"]),
        (&json!("provider_unavailable"), &json!(true))
    );
    assert!(!text.contains("sk-real-key"));
}

#[tokio::test]
async fn a_reply_ends_at_its_end_mark_although_the_connection_stays_open() {
    let open =
        ScriptedAnswer::silent(&["\u{feff}data:\r\n\r\ndata:{\"choices\":[]}\r\n\r\n", "data: [DONE]\n\n"]);
    let proxy = TestProxy::with(vec![open]).await;
    let text = tokio::time::timeout(Duration::from_secs(5), async {
        support::text(proxy.send(&streamed()).await).await.unwrap()
    });
    assert_eq!(text.await.expect("it ends"), "data: {\"choices\":[]}\n\ndata: [DONE]\n\n");
}

#[tokio::test]
async fn a_field_that_a_provider_refuses_is_left_out_from_then_on() {
    let refusal = r#"{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#;
    let good = || ScriptedAnswer::stream(&[DONE]);
    let proxy = TestProxy::with(vec![ScriptedAnswer::status(422, refusal), good(), good()]).await;
    for _ in 0..2 {
        support::text(proxy.send(&streamed()).await).await.unwrap();
    }
    let has: Vec<_> =
        proxy.provider.requests().iter().map(|(_, body)| body.get("stream_options").is_some()).collect();
    assert_eq!(has, [true, false, false]);
}

#[tokio::test]
async fn a_key_in_the_text_does_not_reach_the_agent() {
    let piece =
        |text: &str| format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": text } }] }));
    let [first, second] = [piece("it is sk-re"), piece("al-key!")];
    let proxy = TestProxy::with(vec![
        ScriptedAnswer::stream(&[&first, &second, DONE]),
        ScriptedAnswer::json(r#"{"choices":[{"message":{"content":"it is sk-real-key!"}}]}"#),
    ])
    .await;
    let text = support::text(proxy.send(&streamed()).await).await.unwrap();
    assert!(!text.contains("al-key") && text.contains("[redacted]!"), "{text}");
    let text = support::text(proxy.send(&hello()).await).await.unwrap();
    assert!(text.contains("it is [redacted]!"), "{text}");
}

#[tokio::test]
async fn every_error_names_the_side_that_can_act_and_never_the_key() {
    let mut report = String::new();
    for (status, body) in [
        (500, r#"{"error":{"message":"boom for sk-real-key"}}"#),
        (401, r#"{"error":{"message":"Incorrect API key provided: sk-real-key"}}"#),
        (400, r#"{"error":{"message":"context too long, sk-real-key","code":"context_length_exceeded"}}"#),
        (429, r#"{"error":"quota of sk-real-key"}"#),
        (302, "moved to sk-real-key"),
    ] {
        let answer = || ScriptedAnswer::status(status, body).header("x-secret", "sk-real-key");
        let proxy = TestProxy::with(vec![answer()]).await;
        let response = proxy.send(&hello()).await;
        let (answered, headers) = (response.status(), format!("{:?}", response.headers()));
        let text = support::text(response).await.unwrap();
        assert!(!text.contains("sk-real-key") && !headers.contains("sk-real-key"), "{text} {headers}");
        let tries = proxy.provider.requests().len();
        let text = text.replace(proxy.provider.authority(), "HOST");
        writeln!(report, "provider {status}, {tries} tries -> {answered}\n  {text}").unwrap();
        assert_eq!(proxy.used(), (0, 0, 0));
        assert!(!format!("{:?}", proxy.llm).contains("sk-real-key"));
    }
    insta::assert_snapshot!(report);
}
