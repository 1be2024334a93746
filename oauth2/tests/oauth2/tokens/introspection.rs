//! Introspection, revocation, userinfo.

use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture, claims};

fn text(tokens: &Value, name: &str) -> String {
    tokens[name].as_str().unwrap().to_owned()
}

async fn introspect(fixture: &Fixture, client: &str, token: &str) -> Value {
    fixture.post_as(client, "/oauth2/introspect", &[("token", token)]).await.json()
}

async fn revoke(fixture: &Fixture, client: &str, token: &str) -> Answer {
    fixture.post_as(client, "/oauth2/revoke", &[("token", token)]).await
}

async fn userinfo(fixture: &Fixture, token: &str) -> Answer {
    fixture.get("/oauth2/userinfo", &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn introspection_answers_only_the_client_and_the_audience() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let told = introspect(&fixture, "web", &access).await;
    let expected = json!({
        "active": true, "scope": "openid profile", "client_id": "web", "username": "ann", "token_type": "Bearer",
        "exp": fixture.now() + 600, "iat": fixture.now(), "sub": fixture.ann.id.to_string(), "aud": "mgx",
        "iss": "https://mgx.example/oauth2", "jti": claims(&tokens["access_token"])["jti"],
    });
    assert_eq!(told, expected);
    assert_eq!(
        introspect(&fixture, "service", &access).await["active"],
        true,
        "it is meant for the same audience"
    );
    let inactive = json!({ "active": false });
    assert_eq!(introspect(&fixture, "other", &access).await, inactive, "another client learns nothing");
    assert_eq!(introspect(&fixture, "web", &refresh).await["exp"], fixture.now() + 7 * 86_400);
    assert_eq!(introspect(&fixture, "service", &refresh).await, inactive);
    for nonsense in ["x", "a.b.c", "\0", &access[1..], &format!("{access}x"), &"x".repeat(10_000)] {
        assert_eq!(introspect(&fixture, "web", nonsense).await, inactive, "{nonsense}");
    }
    let id = text(&tokens, "id_token");
    assert_eq!(introspect(&fixture, "web", &id).await, inactive, "an id token is no access token");
    fixture.pass(600);
    assert_eq!(introspect(&fixture, "web", &access).await, inactive, "it has expired");

    for client in ["cli", "nobody"] {
        let answer = fixture.post_as(client, "/oauth2/introspect", &[("token", &access)]).await;
        assert_eq!(answer.error(), (401, "invalid_client".into()), "{client}");
    }
    let nothing = fixture.post_as("web", "/oauth2/introspect", &[]).await;
    assert_eq!(nothing.error(), (400, "invalid_request".into()));
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once() {
    let fixture = Fixture::new().await;
    let verifier = fixture.provider.verifier("mgx");
    let tokens = fixture.tokens().await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    assert!(verifier.verify(&access).is_ok());
    assert_eq!(revoke(&fixture, "other", &access).await.error(), (400, "unauthorized_client".into()));
    assert_eq!(revoke(&fixture, "other", &refresh).await.error(), (400, "unauthorized_client".into()));
    assert!(verifier.verify(&access).is_ok());

    assert_eq!(revoke(&fixture, "web", &access).await.status, 200);
    assert!(verifier.verify(&access).is_err() && fixture.restarted().await.verify(&access).is_err());
    assert_eq!(introspect(&fixture, "web", &access).await, json!({ "active": false }));
    let next = fixture.refresh("web", &refresh).await.json();
    let (access, refresh) = (text(&next, "access_token"), text(&next, "refresh_token"));
    assert!(verifier.verify(&access).is_ok(), "the grant stands");

    assert_eq!(revoke(&fixture, "web", &refresh).await.status, 200);
    assert!(verifier.verify(&access).is_err(), "a refresh token takes everything with it");
    assert_eq!(fixture.refresh("web", &refresh).await.error(), (400, "invalid_grant".into()));
    assert_eq!(introspect(&fixture, "web", &refresh).await, json!({ "active": false }));
    for unknown in ["x", "a.b.c", &refresh, &access] {
        assert_eq!(revoke(&fixture, "web", unknown).await.status, 200, "{unknown}");
    }
    assert_eq!(fixture.post_as("web", "/oauth2/revoke", &[]).await.error(), (400, "invalid_request".into()));
    assert_eq!(
        fixture.post("/oauth2/revoke", &[], &[("token", "x")]).await.error(),
        (401, "invalid_client".into())
    );
}

#[tokio::test]
async fn revoking_a_used_refresh_token_still_revokes_its_family() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await;
    let second = fixture.refresh("web", &text(&first, "refresh_token")).await.json();
    assert_eq!(revoke(&fixture, "web", &text(&first, "refresh_token")).await.status, 200);
    assert_eq!(fixture.refresh("web", &text(&second, "refresh_token")).await.status, 400);
}

#[tokio::test]
async fn userinfo_returns_the_claims_of_the_scope() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let answer = userinfo(&fixture, &text(&tokens, "access_token")).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let sub = fixture.ann.id.to_string();
    let profile =
        json!({ "sub": sub, "name": "ann <b>", "preferred_username": "ann", "updated_at": 1_800_000_000 });
    assert_eq!(answer.json(), profile);

    let mut browser = fixture.browser();
    browser.sign_in("ann", crate::fixture::ANN).await;
    let redirect = crate::fixture::REDIRECT;
    for (scope, expected) in [
        ("openid", json!({ "sub": sub })),
        ("openid email", json!({ "sub": sub, "email": "ann@example.org", "email_verified": false })),
        ("openid groups", json!({ "sub": sub, "groups": ["builders"] })),
    ] {
        let code = browser.code("web", redirect, &[("scope", scope)]).await;
        let tokens = fixture.redeem("web", redirect, &code).await.json();
        assert_eq!(userinfo(&fixture, &text(&tokens, "access_token")).await.json(), expected);
        assert_eq!(about_the_user(&tokens), expected, "most clients look in the id token only");
    }
    let code = browser.code("web", redirect, &[("scope", "profile")]).await;
    let tokens = fixture.redeem("web", redirect, &code).await.json();
    assert!(tokens["id_token"].is_null(), "without openid the user is not disclosed");
    let answer = userinfo(&fixture, &text(&tokens, "access_token")).await;
    assert_eq!(answer.error(), (403, "insufficient_scope".into()));
}

/// The claims of an id token that are about the user.
fn about_the_user(tokens: &Value) -> Value {
    let mut claims = claims(&tokens["id_token"]);
    let of_the_token = ["iss", "aud", "exp", "iat", "auth_time", "nonce", "sid"];
    claims.as_object_mut().unwrap().retain(|name, _| !of_the_token.contains(&&**name));
    claims
}

#[tokio::test]
async fn an_id_token_says_of_the_user_what_its_scope_permits() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", crate::fixture::ANN).await;
    let every = [("scope", "openid profile email groups")];
    let code = browser.code("web", crate::fixture::REDIRECT, &every).await;
    let tokens = fixture.redeem("web", crate::fixture::REDIRECT, &code).await.json();
    let all = json!({
        "sub": fixture.ann.id.to_string(), "name": "ann <b>", "preferred_username": "ann",
        "updated_at": 1_800_000_000, "email": "ann@example.org", "email_verified": false,
        "groups": ["builders"],
    });
    assert_eq!(about_the_user(&tokens), all);
    // later it says what is so then, and no more than the narrower scope permits
    let renamed = mgx_oauth2::User { display_name: "Ann".to_owned(), email: None, ..fixture.ann.clone() };
    fixture.pass(60);
    fixture.provider.administration(None).change_user(&renamed).await.unwrap();
    let next = fixture.refresh("web", &text(&tokens, "refresh_token")).await.json();
    let now = about_the_user(&next);
    assert_eq!((&now["name"], &now["updated_at"]), (&json!("Ann"), &json!(1_800_000_060)));
    assert!(now.get("email").is_none() && now.get("email_verified").is_none(), "{now}");
    let vouched = mgx_oauth2::User { email_verified: true, ..fixture.ann.clone() };
    fixture.provider.administration(None).change_user(&vouched).await.unwrap();
    let next = fixture.refresh("web", &text(&next, "refresh_token")).await.json();
    assert_eq!(about_the_user(&next)["email_verified"], true);
    assert_eq!(userinfo(&fixture, &text(&next, "access_token")).await.json()["email_verified"], true);
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", next["refresh_token"].as_str().unwrap()),
        ("scope", "openid groups"),
    ];
    let narrow = fixture.post_as("web", "/oauth2/token", &pairs).await.json();
    assert_eq!(about_the_user(&narrow), json!({ "sub": fixture.ann.id.to_string(), "groups": ["builders"] }));
}

#[tokio::test]
async fn userinfo_needs_a_users_token() {
    let fixture = Fixture::new().await;
    let none = fixture.get("/oauth2/userinfo", &[]).await;
    let challenge = r#"Bearer realm="mgx", DPoP algs="ES256""#;
    assert_eq!((none.status.as_u16(), none.header("www-authenticate")), (401, challenge));
    let tokens = fixture.tokens().await;
    let access = text(&tokens, "access_token");
    let in_address = fixture.get(&format!("/oauth2/userinfo?access_token={access}"), &[]).await;
    assert_eq!(in_address.status, 401, "a token in an address is none");
    let service =
        fixture.post_as("service", "/oauth2/token", &[("grant_type", "client_credentials")]).await.json();
    for token in
        [&text(&service, "access_token"), &text(&tokens, "id_token"), &text(&tokens, "refresh_token"), "x"]
    {
        let answer = userinfo(&fixture, token).await;
        assert_eq!(answer.error(), (401, "invalid_token".into()), "{token}");
        assert!(answer.header("www-authenticate").contains(r#"error="invalid_token""#));
    }
    fixture.provider.administration(None).remove_user(fixture.ann.id).await.unwrap();
    assert_eq!(userinfo(&fixture, &access).await.error(), (401, "invalid_token".into()));
}
