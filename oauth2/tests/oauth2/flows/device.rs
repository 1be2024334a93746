//! The device flow: a client polls, a user decides in a browser.

use mgx_oauth2::AuditEvent;
use serde_json::Value;

use crate::fixture::{ANN, Answer, Browser, Fixture};

const POLL: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn begin(fixture: &Fixture) -> Value {
    let answer = fixture.post_as("cli", "/oauth2/device_authorization", &[("scope", "openid api")]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("cache-control")),
        (200, "no-store"),
        "{}",
        answer.body
    );
    answer.json()
}

async fn poll(fixture: &Fixture, client: &str, device: &Value) -> Answer {
    let code = device["device_code"].as_str().unwrap();
    fixture.post_as(client, "/oauth2/token", &[("grant_type", POLL), ("device_code", code)]).await
}

/// Types the code, decides, and returns the last page.
async fn say(browser: &mut Browser<'_>, code: &str, decision: &str) -> Answer {
    let page = browser.get(&format!("/oauth2/device?user_code={code}")).await;
    assert_eq!(page.status, 200, "{}", page.location());
    let csrf = page.hidden("csrf");
    let page = browser.post("/oauth2/device", &[("csrf", &csrf), ("user_code", code)]).await;
    if page.status != 200 {
        return page;
    }
    assert!(
        page.body.contains("The cli &amp; &quot;Co&quot; wants access") && page.body.contains(code),
        "{}",
        page.body
    );
    browser.post("/oauth2/device", &[("csrf", &csrf), ("user_code", code), ("decision", decision)]).await
}

#[tokio::test]
async fn a_device_waits_until_the_user_allows_it() {
    let fixture = Fixture::new().await;
    let device = begin(&fixture).await;
    let code = device["user_code"].as_str().unwrap();
    assert_eq!(device["verification_uri"], "https://mgx.example/oauth2/device");
    assert_eq!((&device["interval"], &device["expires_in"]), (&5.into(), &600.into()));
    assert_eq!(poll(&fixture, "cli", &device).await.error(), (400, "authorization_pending".into()));

    let mut browser = fixture.browser();
    let answer = browser.get(&format!("/oauth2/device?user_code={code}")).await;
    assert!(answer.location().starts_with("/oauth2/login?continue="), "{}", answer.location());
    browser.sign_in("ann", ANN).await;
    assert!(say(&mut browser, code, "allow").await.body.contains("The device is connected"));

    fixture.pass(5);
    let tokens = poll(&fixture, "cli", &device).await.json();
    let access = fixture.provider.verifier("mgx").verify(tokens["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((access.client.as_str(), access.scope.to_string().as_str()), ("cli", "api openid"));
    assert!(tokens["refresh_token"].is_string() && tokens["id_token"].is_string());
    assert_eq!(poll(&fixture, "cli", &device).await.error(), (400, "invalid_grant".into()), "once");
}

#[tokio::test]
async fn a_device_that_polls_too_often_is_told_to_slow_down() {
    let fixture = Fixture::new().await;
    let device = begin(&fixture).await;
    let mut errors = Vec::new();
    for pause in [0, 5, 4, 9, 10, 14, 15] {
        fixture.pass(pause);
        errors.push(poll(&fixture, "cli", &device).await.error().1);
    }
    let (wait, slow) = ("authorization_pending", "slow_down");
    assert_eq!(
        errors,
        [wait, wait, slow, slow, slow, slow, slow],
        "each time five seconds more: 5, 10, 15, 20, 25"
    );
    fixture.pass(30);
    assert_eq!(poll(&fixture, "cli", &device).await.error().1, wait);
}

#[tokio::test]
async fn a_denial_and_an_expiry_are_reported() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let device = begin(&fixture).await;
    let code = device["user_code"].as_str().unwrap();
    assert!(say(&mut browser, code, "deny").await.body.contains("was not connected"));
    assert_eq!(poll(&fixture, "cli", &device).await.error(), (400, "access_denied".into()));

    let device = begin(&fixture).await;
    fixture.pass(600);
    assert_eq!(poll(&fixture, "cli", &device).await.error(), (400, "expired_token".into()));
    let code = device["user_code"].as_str().unwrap();
    assert_eq!(say(&mut browser, code, "allow").await.status, 400, "the device cannot be decided on again");
}

#[tokio::test]
async fn a_device_code_is_valid_for_its_client_only() {
    let fixture = Fixture::new().await;
    let device = begin(&fixture).await;
    assert_eq!(poll(&fixture, "tool", &device).await.error(), (400, "invalid_grant".into()));
    assert_eq!(poll(&fixture, "web", &device).await.error(), (400, "unauthorized_client".into()));
    let answer = fixture.post_as("web", "/oauth2/device_authorization", &[]).await;
    assert_eq!(answer.error(), (400, "unauthorized_client".into()));
    let answer = fixture.post_as("cli", "/oauth2/device_authorization", &[("scope", "root")]).await;
    assert_eq!(answer.error(), (400, "invalid_scope".into()));
    let nothing = fixture.post("/oauth2/device_authorization", &[], &[]).await;
    assert_eq!(nothing.error(), (401, "invalid_client".into()));
    let stored = fixture.storage_text();
    assert!(!stored.contains(&device["device_code"].as_str().unwrap()[7..]), "only its hash is kept");
}

#[tokio::test]
async fn devices_and_audit_entries_of_unauthenticated_requests_are_bounded() {
    let fixture = Fixture::new().await;
    let mut begun = 0;
    for _ in 0..200 {
        let answer = fixture.post_as("cli", "/oauth2/device_authorization", &[]).await;
        begun += usize::from(answer.status == 200);
        assert!(answer.status == 200 || answer.error() == (429, "slow_down".into()), "{}", answer.body);
        fixture
            .post(
                "/oauth2/token",
                &[],
                &[("client_id", "web"), ("client_secret", "x"), ("grant_type", "client_credentials")],
            )
            .await;
    }
    let refused =
        fixture.audit().await.into_iter().filter(|event| *event == AuditEvent::ClientRefused).count();
    assert!(begun < 60 && refused < 60, "{begun} {refused}");
    assert_eq!(begun + refused, 60, "a minute's worth for one address");
    fixture.browser().sign_in("ann", ANN).await;
}

#[tokio::test]
async fn user_codes_cannot_be_guessed_and_forms_cannot_be_forged() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let csrf = browser.get("/oauth2/device").await.hidden("csrf");
    let guess = [("csrf", &*csrf), ("user_code", "BCDF-GHJK")];
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(browser.post("/oauth2/device", &guess).await.status.as_u16());
    }
    assert_eq!(statuses, [400, 400, 400, 400, 400, 429, 429]);
    let forged = browser.post("/oauth2/device", &[("csrf", "x"), ("user_code", "BCDF-GHJK")]).await;
    assert_eq!(forged.status, 403);
}
