//! Introspection, revocation, userinfo.

use serde_json::{Value, json};

use crate::house::{Answer, House, claims};

fn text(tokens: &Value, name: &str) -> String {
    tokens[name].as_str().unwrap().to_owned()
}

async fn introspect(house: &House, client: &str, token: &str) -> Value {
    house.post_as(client, "/oauth2/introspect", &[("token", token)]).await.json()
}

async fn revoke(house: &House, client: &str, token: &str) -> Answer {
    house.post_as(client, "/oauth2/revoke", &[("token", token)]).await
}

async fn userinfo(house: &House, token: &str) -> Answer {
    house.get("/oauth2/userinfo", &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn introspection_tells_those_whom_it_concerns() {
    let house = House::new().await;
    let tokens = house.tokens().await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let told = introspect(&house, "web", &access).await;
    let expected = json!({
        "active": true, "scope": "openid profile", "client_id": "web", "username": "ann", "token_type": "Bearer",
        "exp": house.now() + 600, "iat": house.now(), "sub": house.ann.id.to_string(), "aud": "mgx",
        "iss": "https://mgx.example/oauth2", "jti": claims(&tokens["access_token"])["jti"],
    });
    assert_eq!(told, expected);
    assert_eq!(
        introspect(&house, "service", &access).await["active"],
        true,
        "it is meant for the same audience"
    );
    let inactive = json!({ "active": false });
    assert_eq!(introspect(&house, "other", &access).await, inactive, "it is nobody else's business");
    assert_eq!(introspect(&house, "web", &refresh).await["exp"], house.now() + 7 * 86_400);
    assert_eq!(introspect(&house, "service", &refresh).await, inactive);
    for nonsense in ["x", "a.b.c", "\0", &access[1..], &format!("{access}x"), &"x".repeat(10_000)] {
        assert_eq!(introspect(&house, "web", nonsense).await, inactive, "{nonsense}");
    }
    let id = text(&tokens, "id_token");
    assert_eq!(introspect(&house, "web", &id).await, inactive, "an id token is no access token");
    house.pass(600);
    assert_eq!(introspect(&house, "web", &access).await, inactive, "it has expired");

    for client in ["cli", "nobody"] {
        let answer = house.post_as(client, "/oauth2/introspect", &[("token", &access)]).await;
        assert_eq!(answer.error(), (401, "invalid_client".into()), "{client}");
    }
    let nothing = house.post_as("web", "/oauth2/introspect", &[]).await;
    assert_eq!(nothing.error(), (400, "invalid_request".into()));
}

#[tokio::test]
async fn what_is_taken_back_does_not_count_from_then_on() {
    let house = House::new().await;
    let verifier = house.provider.verifier("mgx");
    let tokens = house.tokens().await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    assert!(verifier.verify(&access).is_ok());
    assert_eq!(revoke(&house, "other", &access).await.error(), (400, "unauthorized_client".into()));
    assert_eq!(revoke(&house, "other", &refresh).await.error(), (400, "unauthorized_client".into()));
    assert!(verifier.verify(&access).is_ok());

    assert_eq!(revoke(&house, "web", &access).await.status, 200);
    assert!(verifier.verify(&access).is_err() && house.restarted().await.verify(&access).is_err());
    assert_eq!(introspect(&house, "web", &access).await, json!({ "active": false }));
    let next = house.refresh("web", &refresh).await.json();
    let (access, refresh) = (text(&next, "access_token"), text(&next, "refresh_token"));
    assert!(verifier.verify(&access).is_ok(), "the grant stands");

    assert_eq!(revoke(&house, "web", &refresh).await.status, 200);
    assert!(verifier.verify(&access).is_err(), "a refresh token takes everything with it");
    assert_eq!(house.refresh("web", &refresh).await.error(), (400, "invalid_grant".into()));
    assert_eq!(introspect(&house, "web", &refresh).await, json!({ "active": false }));
    for unknown in ["x", "a.b.c", &refresh, &access] {
        assert_eq!(revoke(&house, "web", unknown).await.status, 200, "{unknown}");
    }
    assert_eq!(house.post_as("web", "/oauth2/revoke", &[]).await.error(), (400, "invalid_request".into()));
    assert_eq!(
        house.post("/oauth2/revoke", &[], &[("token", "x")]).await.error(),
        (401, "invalid_client".into())
    );
}

#[tokio::test]
async fn a_token_that_was_used_up_still_ends_its_family() {
    let house = House::new().await;
    let first = house.tokens().await;
    let second = house.refresh("web", &text(&first, "refresh_token")).await.json();
    assert_eq!(revoke(&house, "web", &text(&first, "refresh_token")).await.status, 200);
    assert_eq!(house.refresh("web", &text(&second, "refresh_token")).await.status, 400);
}

#[tokio::test]
async fn userinfo_tells_as_much_as_was_allowed() {
    let house = House::new().await;
    let tokens = house.tokens().await;
    let answer = userinfo(&house, &text(&tokens, "access_token")).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let sub = house.ann.id.to_string();
    let profile =
        json!({ "sub": sub, "name": "ann <b>", "preferred_username": "ann", "updated_at": 1_800_000_000 });
    assert_eq!(answer.json(), profile);

    let mut browser = house.browser();
    browser.sign_in("ann", crate::house::ANN).await;
    let redirect = crate::house::REDIRECT;
    for (scope, expected) in [
        ("openid", json!({ "sub": sub })),
        ("openid email", json!({ "sub": sub, "email": "ann@example.org", "email_verified": false })),
        ("openid groups", json!({ "sub": sub, "groups": ["builders"] })),
    ] {
        let code = browser.code("web", redirect, &[("scope", scope)]).await;
        let tokens = house.redeem("web", redirect, &code).await.json();
        assert_eq!(userinfo(&house, &text(&tokens, "access_token")).await.json(), expected);
    }
    let code = browser.code("web", redirect, &[("scope", "profile")]).await;
    let tokens = house.redeem("web", redirect, &code).await.json();
    assert!(tokens["id_token"].is_null(), "without openid nobody is told who it is");
    let answer = userinfo(&house, &text(&tokens, "access_token")).await;
    assert_eq!(answer.error(), (403, "insufficient_scope".into()));
}

#[tokio::test]
async fn userinfo_is_told_to_nobody_without_a_token_of_a_user() {
    let house = House::new().await;
    let none = house.get("/oauth2/userinfo", &[]).await;
    let challenge = r#"Bearer realm="mgx", DPoP algs="ES256""#;
    assert_eq!((none.status.as_u16(), none.header("www-authenticate")), (401, challenge));
    let tokens = house.tokens().await;
    let access = text(&tokens, "access_token");
    let in_address = house.get(&format!("/oauth2/userinfo?access_token={access}"), &[]).await;
    assert_eq!(in_address.status, 401, "a token in an address is none");
    let service =
        house.post_as("service", "/oauth2/token", &[("grant_type", "client_credentials")]).await.json();
    for token in
        [&text(&service, "access_token"), &text(&tokens, "id_token"), &text(&tokens, "refresh_token"), "x"]
    {
        let answer = userinfo(&house, token).await;
        assert_eq!(answer.error(), (401, "invalid_token".into()), "{token}");
        assert!(answer.header("www-authenticate").contains(r#"error="invalid_token""#));
    }
    house.provider.actor(None).remove_user(house.ann.id).await.unwrap();
    assert_eq!(userinfo(&house, &access).await.error(), (401, "invalid_token".into()));
}
