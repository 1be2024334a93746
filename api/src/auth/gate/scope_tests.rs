//! Access tokens of clients that are not the platform's own: what is allowed follows from the scope, whatever else the
//! token says about its user.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Request, header};
use form_urlencoded::Serializer;
use http_body_util::BodyExt;
use mgx_oauth2::User;
use serde_json::{Value, json};

use crate::testing::server::{PASSWORD, TestServer, ask_as, test_server};

const BACK: &str = "https://a.example/cb";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A browser in which a user signs in to the provider.
struct Browser<'a> {
    server: &'a TestServer,
    jar: BTreeMap<String, String>,
}

impl Browser<'_> {
    /// Sends a request; where it leads, and the page.
    async fn send(&mut self, method: &str, path: &str, pairs: &[(&str, &str)]) -> (String, String) {
        let cookies: Vec<_> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", cookies.join("; "));
        let answer = self.server.send(request, form(pairs)).await;
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let (name, value) = set.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.jar.insert(name.to_owned(), value.to_owned());
        }
        let place = answer.headers().get("location").map_or("", |place| place.to_str().unwrap()).to_owned();
        let page = answer.into_body().collect().await.unwrap().to_bytes();
        (place, String::from_utf8_lossy(&page).into_owned())
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn field(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    rest.split('"').next().unwrap().replace("&amp;", "&")
}

/// An access token that `user` allows a new client for this API.
async fn allowed(server: &TestServer, user: &User, scope: &str) -> String {
    let new = json!({ "name": "Reports", "confidential": true, "audience": "mgx", "redirect_uris": [BACK],
        "scope": "openid profile groups read write admin" });
    let (_, _, client) = server.post("/api/admin/clients", new).await;
    let (id, secret) = (client["client_id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    let mut browser = Browser { server, jar: BTreeMap::new() };
    let (_, page) = browser.send("GET", "/oauth2/login", &[]).await;
    let csrf = field(&page, "csrf");
    let fields = [("csrf", &*csrf), ("username", user.name.as_str()), ("password", PASSWORD)];
    browser.send("POST", "/oauth2/login", &fields).await;
    let query = form(&[
        ("response_type", "code"),
        ("client_id", id),
        ("redirect_uri", BACK),
        ("scope", scope),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let (_, page) = browser.send("GET", &format!("/oauth2/authorize?{query}"), &[]).await;
    let (csrf, request) = (field(&page, "csrf"), field(&page, "request"));
    let fields = [("csrf", &*csrf), ("request", &*request), ("decision", "allow")];
    let (place, _) = browser.send("POST", "/oauth2/authorize", &fields).await;
    let code = place.split_once("code=").unwrap().1.split('&').next().unwrap();
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
        ("client_id", id),
        ("client_secret", secret),
    ];
    let (_, tokens) = browser.send("POST", "/oauth2/token", &fields).await;
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    tokens["access_token"].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned()
}

async fn get(server: &TestServer, token: &str, path: &str) -> (u16, String, Value) {
    let answer = server.send(ask_as(token, "GET", path), Body::empty()).await;
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, challenge.unwrap_or_default(), serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_token_without_the_users_name_in_it_is_as_good_as_its_scope() {
    let server = test_server().await;
    let anna = server.user("anna", &["crew"]).await;
    for scope in ["read", "openid read", "openid profile read", "openid groups read", "read admin"] {
        let token = allowed(&server, &anna, scope).await;
        let (status, _, me) = get(&server, &token, "/api/me").await;
        assert_eq!((status, &me["user"], &me["is_admin"]), (200, &json!("anna"), &json!(false)), "{scope}");
        let (status, challenge, problem) = get(&server, &token, "/api/admin/users").await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{scope}: {challenge}");
    }
    // what lacks is said, and told apart from a token that is broken
    for scope in ["openid", "openid profile", "write"] {
        let token = allowed(&server, &anna, scope).await;
        let (status, challenge, problem) = get(&server, &token, "/api/sessions").await;
        assert_eq!((status, &problem["detail"]), (403, &json!("the token has no scope read")), "{scope}");
        assert_eq!(challenge, r#"Bearer realm="mgx", error="insufficient_scope", scope="read""#);
        let broken = format!("{}AA", &token[..token.len() - 2]);
        let (status, challenge, _) = get(&server, &broken, "/api/sessions").await;
        assert!(status == 401 && challenge.contains(r#"error="invalid_token""#), "{challenge}");
    }
}

#[tokio::test]
async fn an_administrator_needs_the_scope_admin_and_no_other() {
    let server = test_server().await;
    let root = server.user("root", &["admin"]).await;
    for scope in ["read admin", "openid read admin", "profile read admin", "openid profile groups read admin"]
    {
        let token = allowed(&server, &root, scope).await;
        assert_eq!(get(&server, &token, "/api/admin/users").await.0, 200, "{scope}");
        assert_eq!(get(&server, &token, "/api/me").await.2["is_admin"], true, "{scope}");
    }
    let reads = allowed(&server, &root, "read").await;
    let (status, challenge, _) = get(&server, &reads, "/api/admin/users").await;
    assert!(status == 403 && challenge.contains(r#"scope="admin""#), "{challenge}");
    // the groups are those of this moment
    let token = allowed(&server, &root, "read admin").await;
    let left = User { groups: BTreeSet::new(), ..root.clone() };
    server.provider.administration(None).change_user(&left).await.unwrap();
    assert_eq!(get(&server, &token, "/api/me").await.0, 401, "who leaves a group is signed out");
    let token = allowed(&server, &root, "read admin").await;
    assert_eq!(get(&server, &token, "/api/admin/users").await.0, 403);
    let disabled = User { disabled: true, ..left };
    server.provider.administration(None).change_user(&disabled).await.unwrap();
    assert_eq!(get(&server, &token, "/api/me").await.0, 401);
}
