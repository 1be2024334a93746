//! Signing out, at the user's or at a client's request.

use crate::fixture::{ANN, BOB, Browser, Fixture, REDIRECT, encode, parameter};

/// Signs in, authorizes client `web`, and returns its tokens.
async fn allowed(fixture: &Fixture, browser: &mut Browser<'_>) -> serde_json::Value {
    browser.sign_in("ann", ANN).await;
    let code = browser.code("web", REDIRECT, &[]).await;
    fixture.redeem("web", REDIRECT, &code).await.json()
}

async fn is_signed_in(browser: &mut Browser<'_>) -> bool {
    browser.get("/oauth2/device").await.status == 200
}

#[tokio::test]
async fn a_logout_by_a_client_revokes_the_grants_of_the_session() {
    let fixture = Fixture::new().await;
    let (mut browser, mut elsewhere) = (fixture.browser(), fixture.browser());
    let tokens = allowed(&fixture, &mut browser).await;
    let others = allowed(&fixture, &mut elsewhere).await;
    fixture.pass(3600);
    let hint = tokens["id_token"].as_str().unwrap();
    let query = encode(&[
        ("id_token_hint", hint),
        ("post_logout_redirect_uri", "https://app.example/bye"),
        ("state", "s & t"),
    ]);
    let answer = browser.get(&format!("/oauth2/logout?{query}")).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(answer.location().starts_with("https://app.example/bye?"));
    assert_eq!(parameter(answer.location(), "state").as_deref(), Some("s & t"));
    assert!(
        !is_signed_in(&mut browser).await && browser.cookies.keys().all(|name| !name.contains("session"))
    );
    let refresh = |tokens: &serde_json::Value| tokens["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(fixture.refresh("web", &refresh(&tokens)).await.status, 400);
    assert_eq!(fixture.refresh("web", &refresh(&others)).await.status, 200, "elsewhere they stay");
    assert!(is_signed_in(&mut elsewhere).await);
}

#[tokio::test]
async fn without_an_id_token_the_user_confirms() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    let tokens = allowed(&fixture, &mut browser).await;
    let page = browser.get("/oauth2/logout").await;
    assert!(page.body.contains("Do you want to sign out?"), "{}", page.body);
    let forged = browser.post("/oauth2/logout", &[("csrf", "x")]).await;
    assert!(forged.body.contains("Do you want to sign out?") && is_signed_in(&mut browser).await);
    let csrf = page.hidden("csrf");
    let answer = browser.post("/oauth2/logout", &[("csrf", &csrf)]).await;
    assert!(answer.body.contains("You are signed out."));
    assert!(!is_signed_in(&mut browser).await);

    // another user's token proves nothing about the user who is signed in
    browser.sign_in("bob", BOB).await;
    let query = encode(&[("id_token_hint", tokens["id_token"].as_str().unwrap())]);
    let page = browser.get(&format!("/oauth2/logout?{query}")).await;
    assert!(page.body.contains("Do you want to sign out?") && is_signed_in(&mut browser).await);
    // a request as a form from another site is redirected to itself as a query, with cookies
    let answer = browser.post("/oauth2/logout", &[("client_id", "web")]).await;
    assert_eq!(answer.location(), "/oauth2/logout?client_id=web");
}

#[tokio::test]
async fn an_unregistered_logout_uri_is_refused() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    let tokens = allowed(&fixture, &mut browser).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let access = tokens["access_token"].as_str().unwrap();
    let good = "https://app.example/bye";
    for pairs in [
        &[("post_logout_redirect_uri", good)][..],
        &[("id_token_hint", hint), ("post_logout_redirect_uri", "https://app.example/bye/")],
        &[("id_token_hint", hint), ("post_logout_redirect_uri", "https://evil.example/")],
        &[("id_token_hint", hint), ("post_logout_redirect_uri", REDIRECT)],
        &[("id_token_hint", hint), ("client_id", "other"), ("post_logout_redirect_uri", good)],
        &[("id_token_hint", "x"), ("post_logout_redirect_uri", good)],
        &[("id_token_hint", access), ("post_logout_redirect_uri", good)],
        &[("client_id", "nobody"), ("post_logout_redirect_uri", good)],
    ] {
        let answer = browser.get(&format!("/oauth2/logout?{}", encode(pairs))).await;
        assert_eq!((answer.error(), answer.location()), ((400, "invalid_request".into()), ""), "{pairs:?}");
    }
    assert!(is_signed_in(&mut browser).await);
}
