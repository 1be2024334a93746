//! A browser signs in to the platform's pages, works there, and signs out.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use mgx_oauth2::{GrantType, NewClient, SigningAlgorithm};
use serde_json::Value;

use crate::auth::sign_in::{CALLBACK, PAGES};
use crate::testing::server::{PASSWORD, TestServer, test_server};

const HERE: &str = "http://127.0.0.1:8765";

/// A browser that keeps cookies with their paths, and sends `Sec-Fetch-Site`.
struct Browser<'a> {
    server: &'a TestServer,
    /// By name: the path, and the value.
    jar: BTreeMap<String, (String, String)>,
}

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Page {
    fn location(&self) -> &str {
        let place = self.headers[header::LOCATION].to_str().unwrap();
        place.strip_prefix(HERE).unwrap_or(place)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The value of a field of a form.
    fn field(&self, name: &str) -> String {
        let at = self.text.find(&format!("name=\"{name}\" value=\"")).unwrap() + name.len() + 15;
        self.text[at..][..self.text[at..].find('"').unwrap()].replace("&amp;", "&")
    }
}

impl<'a> Browser<'a> {
    fn new(server: &'a TestServer) -> Self {
        Self { server, jar: BTreeMap::new() }
    }

    async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Page {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8765");
        let cookies = self.jar.iter().filter(|(_, (place, _))| path.starts_with(place.as_str()));
        let line: Vec<_> = cookies.map(|(name, (_, value))| format!("{name}={value}")).collect();
        if !line.is_empty() {
            request = request.header("cookie", line.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, stream) = self.server.send(request, body).await.into_parts();
        for set in head.headers.get_all(header::SET_COOKIE) {
            let mut parts = set.to_str().unwrap().split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let place = parts.clone().find_map(|part| part.strip_prefix("Path=")).unwrap();
            assert!(parts.any(|part| part == "HttpOnly"), "{set:?}: no script may read it");
            self.jar.insert(name.to_owned(), (place.to_owned(), value.to_owned()));
        }
        let is_stream =
            head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let text = if is_stream {
            String::new()
        } else {
            String::from_utf8_lossy(&stream.collect().await.unwrap().to_bytes()).into_owned()
        };
        Page { status: head.status, headers: head.headers, text }
    }

    async fn get(&mut self, path: &str) -> Page {
        self.send("GET", path, &[("sec-fetch-site", "same-origin")], String::new()).await
    }

    async fn post(&mut self, path: &str, body: &str) -> Page {
        let headers =
            [("sec-fetch-site", "same-origin"), ("origin", HERE), ("content-type", "application/json")];
        self.send("POST", path, &headers, body.to_owned()).await
    }

    /// Signs in through the provider's form: the answer that leads the browser back to the pages.
    async fn sign_in(&mut self, user: &str, place: &str) -> Page {
        let first = self.get(&format!("/auth/login?return_to={place}")).await;
        assert_eq!(first.status, 303);
        let form = self.get(first.location()).await;
        let form = self.get(form.location()).await;
        let fields = [
            ("csrf", &*form.field("csrf")),
            ("continue", &form.field("continue")),
            ("username", user),
            ("password", PASSWORD),
        ];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [
            ("sec-fetch-site", "same-origin"),
            ("origin", HERE),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let back = self.send("POST", "/oauth2/login", &headers, body).await;
        assert_eq!(back.status, 303, "{}", back.text);
        let code = self.get(back.location()).await;
        assert!(
            code.location().starts_with(CALLBACK),
            "no consent is asked for the platform's own pages: {}",
            code.text
        );
        self.get(code.location()).await
    }
}

async fn server_with_pages() -> TestServer {
    let server = test_server().await;
    let pages = NewClient {
        id: Some(PAGES.parse().unwrap()),
        name: "MGX".to_owned(),
        confidential: false,
        redirect_uris: vec![format!("{HERE}{CALLBACK}")],
        post_logout_redirect_uris: Vec::new(),
        grants: BTreeSet::from([GrantType::AuthorizationCode]),
        scope: "read write admin".parse().unwrap(),
        audience: Some("mgx".to_owned()),
        id_token_alg: SigningAlgorithm::default(),
        first_party: true,
    };
    server.provider.administration(None).ensure_client(pages, None).await.unwrap();
    server
}

#[tokio::test]
async fn a_browser_signs_in_works_and_signs_out_without_a_token() {
    let server = server_with_pages().await;
    server.user("anna", &[]).await;
    let mut browser = Browser::new(&server);
    assert_eq!(browser.get("/api/me").await.status, 401);
    let done = browser.sign_in("anna", "/sessions/demo").await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/sessions/demo"));
    let set: Vec<_> = done.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap()).collect();
    assert!(
        set.iter().any(|set| set.starts_with("mgx=mgx_ps_") && set.contains("; SameSite=Strict")),
        "{set:?}"
    );
    assert!(browser.get("/api/me").await.json()["user"] == "anna");
    assert_eq!(browser.post("/api/sessions", r#"{ "session_id": "hers", "prompt": "x" }"#).await.status, 201);
    // the request of an EventSource
    let stream = browser
        .send(
            "GET",
            "/api/sessions/hers/events",
            &[("accept", "text/event-stream"), ("sec-fetch-site", "same-origin")],
            String::new(),
        )
        .await;
    assert_eq!(
        (stream.status, &stream.headers["content-type"]),
        (StatusCode::OK, &"text/event-stream".parse().unwrap())
    );
    // the pages' cookie and the provider's are not accepted in place of each other
    let (pages, provider) = (browser.jar["mgx"].clone(), browser.jar["mgx_session"].clone());
    browser.jar.insert("mgx".to_owned(), ("/".to_owned(), provider.1.clone()));
    assert_eq!(browser.get("/api/me").await.status, 401);
    browser.jar.insert("mgx".to_owned(), pages.clone());
    assert!(server.provider.signed_in(&pages.1).await.unwrap().is_none());

    let out = browser.post("/auth/logout", "").await;
    assert_eq!(out.status, 204);
    browser.jar.insert("mgx".to_owned(), pages);
    assert_eq!(browser.get("/api/me").await.status, 401, "a copy of the cookie is worth nothing");
    assert!(server.provider.signed_in(&provider.1).await.unwrap().is_none(), "nor is the provider's");
}

#[tokio::test]
async fn a_page_of_another_site_can_do_nothing_with_the_cookie() {
    let server = server_with_pages().await;
    let anna = server.user("anna", &["admin"]).await;
    let mut browser = Browser::new(&server);
    browser.sign_in("anna", "/").await;
    assert_eq!(browser.get("/api/me").await.json()["is_admin"], true);
    let json = ("content-type", "application/json");
    for from in [
        &[json][..],
        &[json, ("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:3000")],
        &[json, ("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        &[json, ("sec-fetch-site", "none")],
        &[json, ("origin", "null")],
    ] {
        for path in ["/api/sessions", "/auth/logout"] {
            let refused = browser.send("POST", path, from, "{}".to_owned()).await;
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (StatusCode::FORBIDDEN, &"cross-site".into()),
                "{path} {from:?}"
            );
        }
    }
    let looked = browser.send("GET", "/api/me", &[("sec-fetch-site", "same-site")], String::new()).await;
    assert_eq!(looked.status, 403);
    // a token needs no cookie, and a cookie does not help an invalid token
    let wrong = browser.send("GET", "/api/me", &[("authorization", "Bearer x")], String::new()).await;
    assert_eq!(wrong.status, 401);
    // the cookie of a disabled user is refused at once
    server
        .provider
        .administration(None)
        .change_user(&mgx_oauth2::User { disabled: true, ..anna })
        .await
        .unwrap();
    assert_eq!(browser.get("/api/me").await.status, 401);
}

#[tokio::test]
async fn a_code_of_another_browser_signs_in_no_browser() {
    let server = server_with_pages().await;
    server.user("anna", &[]).await;
    let mut browser = Browser::new(&server);
    browser.sign_in("anna", "/").await;
    // a code for the sign-in of another browser
    let mut victim = Browser::new(&server);
    let iss = "http%3A%2F%2F127.0.0.1%3A8765%2Foauth2";
    let forced = format!("{CALLBACK}?code=mgx_ac_stolen&state=x&iss={iss}");
    assert_eq!(victim.get(&forced).await.status, 401);
    let begun = victim.get("/auth/login").await;
    let state = begun.location().split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    assert_eq!(victim.get(&forced).await.status, 401, "another state");
    for query in [
        format!("code=x&state={state}"),
        format!("code=x&state={state}&iss=https%3A%2F%2Fevil.example"),
        format!("code=x&state={state}&iss={iss}"),
        format!("error=access_denied&state={state}&iss={iss}"),
        "code=x&code=y".to_owned(),
    ] {
        let status = victim.get(&format!("{CALLBACK}?{query}")).await.status;
        assert!(status.is_client_error(), "{query}: {status}");
    }
    assert!(!victim.jar.contains_key("mgx"), "{:?}", victim.jar);
    // under another host name the cookie would not come back: the browser is redirected to the issuer's host first
    let other = Request::get("/auth/login?return_to=/x").header("host", "localhost:8765");
    let answer = server.send(other, Body::empty()).await;
    assert_eq!(answer.headers()[header::LOCATION], format!("{HERE}/auth/login?return_to=%2Fx&moved=1"));
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let server = server_with_pages().await;
    for path in
        ["/healthz", "/api/me", "/nothing", "/auth/login", "/oauth2/login", "/oauth2/jwks", "/openapi.json"]
    {
        let answer = server.send(Request::get(path), Body::empty()).await;
        let field =
            |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        assert_eq!(field("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(field("x-frame-options"), "DENY", "{path}");
        assert!(field("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert!(field("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(field("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(field("cross-origin-resource-policy"), "same-origin", "{path}");
        assert!(!field("referrer-policy").is_empty() && !field("cache-control").is_empty(), "{path}");
        assert_eq!(field("strict-transport-security"), "", "{path}: this platform has no TLS");
    }
}

#[tokio::test]
async fn a_browser_that_changes_the_password_stays_signed_in_and_the_others_do_not() {
    let server = server_with_pages().await;
    server.user("anna", &[]).await;
    let (mut browser, mut other) = (Browser::new(&server), Browser::new(&server));
    browser.sign_in("anna", "/").await;
    other.sign_in("anna", "/").await;
    let body = format!(r#"{{ "current_password": "{PASSWORD}", "password": "four small boats drift" }}"#);
    assert_eq!(browser.post("/api/me/password", &body).await.status, 204);
    assert_eq!(browser.get("/api/me").await.status, 200);
    assert_eq!(browser.get("/oauth2/password").await.status, 200, "at the provider too");
    assert_eq!(other.get("/api/me").await.status, 401);
    assert_eq!(other.get("/oauth2/password").await.status, 303);
}

/// A proxy that is configured to pass requests on and no more sends its own idea of `Host`.
#[tokio::test]
async fn behind_a_proxy_that_replaces_host_a_page_says_what_to_write() {
    let server = test_server().await;
    let behind = async |path: &str, accept: &str| {
        let request = Request::get(path).header("host", "127.0.0.1:9999").header("accept", accept);
        let (head, body) = server.send(request, Body::empty()).await.into_parts();
        let text = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
        (head, text)
    };
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let (mut place, mut answers) = ("/auth/login?return_to=/x".to_owned(), Vec::new());
    let (head, text) = loop {
        let (head, text) = behind(&place, browser).await;
        answers.push(head.status.as_u16());
        match head.headers.get(header::LOCATION) {
            Some(next) => next.to_str().unwrap().strip_prefix(HERE).unwrap().clone_into(&mut place),
            None => break (head, text),
        }
        assert!(answers.len() < 5, "no redirect without end: {answers:?}");
    };
    assert_eq!(answers, [303, 400]);
    assert_eq!(head.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    for word in [
        HERE,
        "127.0.0.1:9999",
        "oauth2.public_url",
        "proxy_set_header Host $http_host;",
        "ProxyPreserveHost On",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let (head, text) = behind(&place, "application/json").await;
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((head.status.as_u16(), &problem["code"]), (400, &"invalid-host".into()), "{problem}");
    let right = Request::get(&place).header("host", "127.0.0.1:8765");
    assert_eq!(
        server.send(right, Body::empty()).await.status(),
        303,
        "with the right Host it goes on to the provider"
    );
}
