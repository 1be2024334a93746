//! Authorization codes: valid once, for a minute, for the client and the request that they were issued to.

use mgx_oauth2::{AuditEvent, Verifier};
use serde_json::Value;

use crate::fixture::{ANN, Fixture, LOOPBACK, REDIRECT, VERIFIER, claims, parameter};

fn verifier(fixture: &Fixture) -> Verifier {
    fixture.provider.verifier("mgx")
}

async fn code(fixture: &Fixture, client: &str, redirect: &str) -> String {
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    browser.code(client, redirect, &[]).await
}

#[tokio::test]
async fn a_code_becomes_tokens_with_the_right_claims() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    fixture.pass(10);
    let code = browser.code("web", REDIRECT, &[]).await;
    assert!(code.starts_with("mgx_ac_") && code.len() == 7 + 43, "256 bits: {code}");
    let answer = fixture.redeem("web", REDIRECT, &code).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let tokens = answer.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&"Bearer".into(), &600.into()));
    assert_eq!(tokens["scope"], "openid profile");

    let access = verifier(&fixture).verify(tokens["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(access.client.as_str(), "web");
    assert_eq!(access.username.as_ref().map(ToString::to_string).as_deref(), Some("ann"));
    assert_eq!(access.expires_at.as_second() - access.issued_at.as_second(), 600);
    assert!(access.groups.is_empty(), "they were not requested");

    let id = claims(&tokens["id_token"]);
    let (sub, now) = (Value::from(fixture.ann.id.to_string()), fixture.now());
    for (claim, value) in [
        ("iss", Value::from("https://mgx.example/oauth2")),
        ("aud", "web".into()),
        ("sub", sub),
        ("nonce", "n-1".into()),
        ("iat", now.into()),
        ("auth_time", (now - 10).into()),
    ] {
        assert_eq!(id[claim], value, "{claim}");
    }
    assert!(
        verifier(&fixture).verify(tokens["id_token"].as_str().unwrap()).is_err(),
        "an id token opens nothing"
    );
    assert_eq!(fixture.storage_text().matches(&code[7..]).count(), 0);
}

#[tokio::test]
async fn reuse_of_a_code_revokes_its_tokens() {
    let fixture = Fixture::new().await;
    let code = code(&fixture, "web", REDIRECT).await;
    let tokens = fixture.redeem("web", REDIRECT, &code).await.json();
    let (access, refresh) =
        (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    let verifier = verifier(&fixture);
    assert!(verifier.verify(access).is_ok());
    assert_eq!(fixture.redeem("web", REDIRECT, &code).await.error(), (400, "invalid_grant".into()));
    assert!(verifier.verify(access).is_err(), "at once, although it was known by heart");
    assert_eq!(fixture.refresh("web", refresh).await.error(), (400, "invalid_grant".into()));
    let replayed = |event: &AuditEvent| matches!(event, AuditEvent::CodeReplayed { .. });
    assert_eq!(fixture.audit().await.iter().filter(|event| replayed(event)).count(), 1);
    assert!(fixture.restarted().await.verify(access).is_err(), "and after a restart");
}

#[tokio::test]
async fn of_concurrent_redemptions_one_succeeds_and_the_grant_is_revoked() {
    let fixture = Fixture::new().await;
    let code = code(&fixture, "web", REDIRECT).await;
    let all = futures(&fixture, &code).await;
    let won: Vec<&Value> = all.iter().filter(|body| body["error"].is_null()).collect();
    assert!(won.len() <= 1, "{won:?}");
    for body in won {
        assert!(verifier(&fixture).verify(body["access_token"].as_str().unwrap()).is_err());
    }
}

async fn futures(fixture: &Fixture, code: &str) -> Vec<Value> {
    let (a, b, c) = tokio::join!(
        fixture.redeem("web", REDIRECT, code),
        fixture.redeem("web", REDIRECT, code),
        fixture.redeem("web", REDIRECT, code)
    );
    [a, b, c].iter().map(crate::fixture::Answer::json).collect()
}

#[tokio::test]
async fn a_code_is_valid_for_its_client_its_request_and_a_minute() {
    let fixture = Fixture::new().await;
    let invalid = (400, "invalid_grant".to_owned());

    let late = code(&fixture, "web", REDIRECT).await;
    fixture.pass(60);
    assert_eq!(fixture.redeem("web", REDIRECT, &late).await.error(), invalid, "a minute has passed");
    let just = code(&fixture, "web", REDIRECT).await;
    fixture.pass(59);
    assert_eq!(fixture.redeem("web", REDIRECT, &just).await.status, 200);

    let others = code(&fixture, "web", REDIRECT).await;
    assert_eq!(fixture.redeem("other", REDIRECT, &others).await.error(), invalid, "another client");
    assert_eq!(fixture.redeem("web", REDIRECT, &others).await.error(), invalid, "which has burnt it");

    let elsewhere = code(&fixture, "web", REDIRECT).await;
    assert_eq!(fixture.redeem("web", "https://app.example/cb2", &elsewhere).await.error(), invalid);

    let port = code(&fixture, "cli", "http://127.0.0.1:4000/cb").await;
    assert_eq!(
        fixture.redeem("cli", "http://127.0.0.1:4001/cb", &port).await.error(),
        invalid,
        "as it was given"
    );

    for nonsense in ["x", "mgx_ac_", &format!("mgx_ac_{}", "A".repeat(43)), "\0"] {
        assert_eq!(fixture.redeem("web", REDIRECT, nonsense).await.error(), invalid, "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_wrong_verifier_uses_the_code_up() {
    let fixture = Fixture::new().await;
    let wrong = "x".repeat(43);
    for verifier in ["short", &wrong, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"] {
        let code = code(&fixture, "cli", LOOPBACK).await;
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", LOOPBACK),
            ("code_verifier", verifier),
        ];
        let answer = fixture.post_as("cli", "/oauth2/token", &pairs).await;
        assert_eq!(answer.error(), (400, "invalid_grant".into()), "{verifier}");
        assert_eq!(fixture.redeem("cli", LOOPBACK, &code).await.error(), (400, "invalid_grant".into()));
    }
    let code = code(&fixture, "cli", LOOPBACK).await;
    let without = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", LOOPBACK)];
    assert_eq!(
        fixture.post_as("cli", "/oauth2/token", &without).await.error(),
        (400, "invalid_request".into())
    );
    assert_eq!(VERIFIER.len(), 43);
}

#[tokio::test]
async fn the_redirect_names_the_issuer_and_returns_the_state() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let answer = browser.authorize("cli", LOOPBACK, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (303, "no-store"));
    assert_eq!(parameter(answer.location(), "iss").as_deref(), Some("https://mgx.example/oauth2"));
    assert_eq!(parameter(answer.location(), "state").as_deref(), Some("a state & more"));
    let answer = browser.authorize("cli", LOOPBACK, &[("state", "")]).await;
    assert_eq!(parameter(answer.location(), "state"), None);
    assert!(!answer.location().contains("token"), "no token is ever in an address");
}

#[tokio::test]
async fn a_client_without_refresh_tokens_is_given_none() {
    let fixture = Fixture::new().await;
    let code = code(&fixture, "once", REDIRECT).await;
    let tokens = fixture.redeem("once", REDIRECT, &code).await.json();
    assert!(tokens["access_token"].is_string() && tokens["refresh_token"].is_null(), "{tokens}");
}
