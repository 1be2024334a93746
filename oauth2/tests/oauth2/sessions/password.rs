//! Users change their own password.

use mgx_oauth2::{AuditEvent, Sessions as _};

use crate::fixture::{ANN, Answer, BOB, Browser, Fixture, REDIRECT};

const NEW: &str = "four small boats drift";

/// Opens the page and sends its form.
async fn change(browser: &mut Browser<'_>, current: &str, new: &str, repeated: &str) -> Answer {
    let page = browser.get("/oauth2/password").await;
    let pairs = [
        ("csrf", &*page.hidden("csrf")),
        ("password", current),
        ("new_password", new),
        ("repeated_password", repeated),
    ];
    browser.post("/oauth2/password", &pairs).await
}

#[tokio::test]
async fn a_user_changes_the_password_and_is_signed_out_elsewhere() {
    let fixture = Fixture::new().await;
    let (mut browser, mut elsewhere, mut bobs) = (fixture.browser(), fixture.browser(), fixture.browser());
    // who is not signed in signs in first
    let answer = browser.get("/oauth2/password").await;
    assert_eq!(answer.location(), "/oauth2/login?continue=%2Foauth2%2Fpassword");
    let page = browser.get(answer.location()).await;
    let (csrf, back) = (page.hidden("csrf"), page.hidden("continue"));
    let pairs = [("csrf", &*csrf), ("continue", &*back), ("username", "ann"), ("password", ANN)];
    assert_eq!(browser.post("/oauth2/login", &pairs).await.location(), "/oauth2/password");
    elsewhere.sign_in("ann", ANN).await;
    bobs.sign_in("bob", BOB).await;
    let code = elsewhere.code("web", REDIRECT, &[]).await;
    let tokens = fixture.redeem("web", REDIRECT, &code).await.json();

    let page = browser.get("/oauth2/password").await;
    assert!(page.body.contains(r#"value="ann" autocomplete="username""#), "{}", page.body);
    assert!(page.header("content-security-policy").contains("form-action 'self';"));
    let done = change(&mut browser, ANN, NEW, NEW).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert!(done.body.contains("Your password is changed."), "{}", done.body);
    assert_eq!(browser.get("/oauth2/device").await.status, 200, "this browser stays signed in");
    assert_eq!(elsewhere.get("/oauth2/device").await.status, 303);
    assert_eq!(bobs.get("/oauth2/device").await.status, 200);
    let refreshed = fixture.refresh("web", tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(refreshed.error(), (400, "invalid_grant".into()));
    assert_eq!(elsewhere.try_sign_in("ann", ANN).await.status, 401);
    elsewhere.sign_in("ann", NEW).await;
    let now = jiff::Timestamp::from_second(fixture.now()).unwrap();
    assert_eq!(fixture.storage.sessions_of(fixture.ann.id, now, 10).await.unwrap().len(), 2);
    let set = |event: &&AuditEvent| matches!(event, AuditEvent::PasswordSet);
    assert_eq!(fixture.audit().await.iter().filter(set).count(), 1);
    assert!(!fixture.storage_text().contains(NEW));
}

#[tokio::test]
async fn a_change_needs_the_current_password_and_a_good_new_one() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    for (new, repeated, alarm) in [
        ("short", "short", "too short. Fewest characters: 15"),
        ("passwordpassword", "passwordpassword", "guessed first"),
        ("aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaa", "repetition"),
        ("", "", "too short"),
        (NEW, "four small boats sink", "differ"),
        (NEW, "", "differ"),
    ] {
        let answer = change(&mut browser, ANN, new, repeated).await;
        assert!(answer.status == 422 && answer.body.contains(alarm), "{alarm}: {}", answer.body);
    }
    // guesses count as they do at sign-in
    for _ in 0..5 {
        let answer = change(&mut browser, "wrong", NEW, NEW).await;
        assert!(answer.status == 422 && answer.body.contains("current password is wrong"), "{}", answer.body);
    }
    let answer = change(&mut browser, ANN, NEW, NEW).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "60"));
    fixture.pass(60);
    assert_eq!(change(&mut browser, ANN, NEW, NEW).await.status, 200);
}

#[tokio::test]
async fn another_site_changes_no_password() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let csrf = browser.get("/oauth2/password").await.hidden("csrf");
    let pairs = |csrf| [("csrf", csrf), ("password", ANN), ("new_password", NEW), ("repeated_password", NEW)];
    assert_eq!(browser.post("/oauth2/password", &pairs("x")).await.status, 403);
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    let body = crate::fixture::encode(&pairs(&csrf));
    let forged = crate::fixture::request("POST", "/oauth2/password", &headers, body);
    assert_eq!(browser.send(forged).await.status, 403);
    assert_eq!(fixture.browser().post("/oauth2/password", &pairs(&csrf)).await.status, 303);
    fixture.browser().sign_in("ann", ANN).await;
}

#[tokio::test]
async fn a_password_manager_finds_the_page() {
    let fixture = Fixture::new().await;
    let answer = fixture.get("/.well-known/change-password", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (303, "/oauth2/password"));
    let chinese = [("accept-language", "zh")];
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let request = crate::fixture::request("GET", "/oauth2/password", &chinese, String::new());
    assert!(browser.send(request).await.body.contains("修改密码"));
}
