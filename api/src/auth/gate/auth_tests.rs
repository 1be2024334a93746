//! Which tokens the API accepts, and for which routes.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use mgx_oauth2::{GrantType, NewClient, SigningAlgorithm};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::testing::server::{PASSWORD, TestServer, ask_as, test_server};

/// The secret of a new first-party client for `audience`, with every grant that the tests need.
async fn client(server: &TestServer, id: &str, audience: &str) -> String {
    let new = NewClient {
        id: Some(id.parse().unwrap()),
        name: id.to_owned(),
        confidential: true,
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: BTreeSet::from([GrantType::Password, GrantType::ClientCredentials]),
        scope: "read write admin openid".parse().unwrap(),
        audience: Some(audience.to_owned()),
        id_token_alg: SigningAlgorithm::default(),
        first_party: true,
    };
    server.provider.administration(None).add_client(new).await.unwrap().1.unwrap().expose_secret().to_owned()
}

/// An access token of the provider behind the same server.
async fn access_token(server: &TestServer, form: &str) -> String {
    let request = Request::post("/oauth2/token").header("content-type", "application/x-www-form-urlencoded");
    let answer = server.send(request, form.to_owned()).await;
    let status = answer.status();
    let body: Value =
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

async fn status(server: &TestServer, token: &str, method: &str, path: &str) -> (u16, String, String) {
    let request = ask_as(token, method, path).header("content-type", "application/json");
    let body = if method == "POST" { json!({ "session_id": "x" }).to_string() } else { String::new() };
    let answer = server.send(request, body).await;
    let challenge =
        answer.headers().get("www-authenticate").map_or("", |value| value.to_str().unwrap()).to_owned();
    let status = answer.status().as_u16();
    let body: Value =
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned(), challenge)
}

#[tokio::test]
async fn a_token_allows_what_its_scope_names() {
    let server = test_server().await;
    let anna = server.user("anna", &[]).await;
    let reads = server.api_token(&anna, "read").await;
    assert_eq!(status(&server, &reads, "GET", "/api/sessions").await.0, 200);
    let (code, slug, challenge) = status(&server, &reads, "POST", "/api/sessions").await;
    assert_eq!((code, &*slug), (403, "forbidden"));
    assert_eq!(challenge, r#"Bearer realm="mgx", error="insufficient_scope", scope="write""#);
    let writes = server.api_token(&anna, "write").await;
    assert_eq!(status(&server, &writes, "POST", "/api/sessions").await.0, 201);
    assert_eq!(status(&server, &writes, "GET", "/api/sessions").await.0, 403);
    // a scope alone makes no administrator
    let admin = server.api_token(&anna, "read write admin").await;
    assert_eq!(status(&server, &admin, "GET", "/api/admin/users").await.0, 403);
    assert_eq!(status(&server, &reads, "GET", "/api/nothing").await.0, 404);
}

#[tokio::test]
async fn an_api_token_is_valid_until_it_expires_is_revoked_or_its_user_is_disabled() {
    let server = test_server().await;
    let anna = server.user("anna", &[]).await;
    let soon = Timestamp::now() - SignedDuration::from_secs(1);
    let scope = "read".parse().unwrap();
    let (_, old) =
        server.provider.administration(None).add_api_token(anna.id, "old", scope, Some(soon)).await.unwrap();
    let (code, slug, challenge) = status(&server, old.expose_secret(), "GET", "/api/sessions").await;
    assert_eq!((code, &*slug), (401, "unauthorized"));
    assert_eq!(challenge, r#"Bearer realm="mgx", error="invalid_token", DPoP algs="ES256""#);

    let scope = "read".parse().unwrap();
    let (token, text) =
        server.provider.administration(None).add_api_token(anna.id, "one", scope, None).await.unwrap();
    assert_eq!(status(&server, text.expose_secret(), "GET", "/api/sessions").await.0, 200);
    server.provider.administration(None).remove_api_token(anna.id, token.id).await.unwrap();
    assert_eq!(status(&server, text.expose_secret(), "GET", "/api/sessions").await.0, 401);

    let another = server.api_token(&anna, "read").await;
    assert_eq!(status(&server, &another, "GET", "/api/sessions").await.0, 200);
    server
        .provider
        .administration(None)
        .change_user(&mgx_oauth2::User { disabled: true, ..anna })
        .await
        .unwrap();
    assert_eq!(status(&server, &another, "GET", "/api/sessions").await.0, 401);
}

#[tokio::test]
async fn an_access_token_is_accepted_if_its_audience_is_this_platform() {
    let server = test_server().await;
    let anna = server.user("anna", &["admin"]).await;
    let (ours, theirs) = (client(&server, "ours", "mgx").await, client(&server, "theirs", "an-app").await);
    let form = |client: &str, secret: &str, scope: &str| {
        let password = PASSWORD.replace(' ', "+");
        format!(
            "grant_type=password&username=anna&password={password}&client_id={client}&client_secret={secret}&scope={scope}"
        )
    };
    let token = access_token(&server, &form("ours", &ours, "read+write")).await;
    assert_eq!(status(&server, &token, "POST", "/api/sessions").await.0, 201);
    let (_, _, page) = server.code(ask_as(&token, "GET", "/api/sessions"), Body::empty()).await;
    assert_eq!(page["sessions"][0]["user"], "anna");
    // for another audience, or changed
    let foreign = access_token(&server, &form("theirs", &theirs, "read")).await;
    let mut changed = token.clone();
    changed.replace_range(token.len() - 2.., "AA");
    for wrong in [foreign.as_str(), changed.as_str(), "mgx_pat_nonsense", &"x".repeat(20_000)] {
        let (code, slug, challenge) = status(&server, wrong, "GET", "/api/sessions").await;
        assert_eq!((code, &*slug), (401, "unauthorized"), "{wrong}");
        assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
    }
    // a client that acts for itself has only its own resources
    let own =
        format!("grant_type=client_credentials&client_id=ours&client_secret={ours}&scope=read+write+admin");
    let own = access_token(&server, &own).await;
    let (_, _, page) = server.code(ask_as(&own, "GET", "/api/sessions"), Body::empty()).await;
    assert_eq!(page["sessions"], json!([]));
    // a user who leaves the group of administrators is signed out at once
    let admin = access_token(&server, &form("ours", &ours, "read+admin")).await;
    let (_, _, page) = server.code(ask_as(&admin, "GET", "/api/sessions"), Body::empty()).await;
    assert_eq!(page["sessions"][0]["user"], "anna");
    server
        .provider
        .administration(None)
        .change_user(&mgx_oauth2::User { groups: BTreeSet::new(), ..anna })
        .await
        .unwrap();
    assert_eq!(status(&server, &admin, "GET", "/api/sessions").await.0, 401);
}
