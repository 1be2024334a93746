//! Single-page applications: public clients whose pages call the provider from another origin.

use std::collections::BTreeSet;

use mgx_oauth2::{GrantType, NewClient, SigningAlgorithm};

use crate::fixture::{ANN, Answer, Fixture, VERIFIER, request};

const ORIGIN: &str = "https://spa.example";
const BACK: &str = "https://spa.example/signed-in?from=mgx";

async fn register(fixture: &Fixture, id: &str, confidential: bool, redirect: &str) {
    let new = NewClient {
        id: id.parse().ok(),
        name: "A page".to_owned(),
        confidential,
        redirect_uris: vec![redirect.to_owned()],
        post_logout_redirect_uris: Vec::new(),
        grants: BTreeSet::from([GrantType::AuthorizationCode, GrantType::RefreshToken]),
        scope: "openid profile".parse().unwrap(),
        audience: None,
        id_token_alg: SigningAlgorithm::default(),
        first_party: false,
    };
    fixture.provider.administration(None).add_client(new).await.unwrap();
}

async fn preflight(fixture: &Fixture, path: &str, origin: &str, method: &str, header: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", header),
    ];
    fixture.send(request("OPTIONS", path, &headers, String::new())).await
}

fn allowed(answer: &Answer) -> &str {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn a_page_of_a_public_client_signs_in_from_its_origin() {
    let fixture = Fixture::new().await;
    register(&fixture, "spa", false, BACK).await;
    for (path, method, header) in [
        ("/oauth2/token", "POST", "content-type"),
        ("/oauth2/token", "POST", "authorization,content-type,dpop"),
        ("/oauth2/revoke", "POST", "content-type"),
        ("/oauth2/userinfo", "GET", "authorization"),
        ("/oauth2/userinfo", "POST", "authorization"),
    ] {
        let answer = preflight(&fixture, path, ORIGIN, method, header).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.status);
        assert_eq!(allowed(&answer), ORIGIN, "{path}");
        assert!(answer.header("access-control-allow-methods").contains(method), "{path}");
        for name in header.split(',') {
            assert!(answer.header("access-control-allow-headers").contains(name), "{path} {name}");
        }
        assert_eq!(answer.header("access-control-allow-credentials"), "", "{path}: no cookies");
        assert!(answer.header("vary").to_lowercase().contains("origin"), "{path}");
    }

    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let code = browser.code("spa", BACK, &[]).await;
    let from = [("origin", ORIGIN)];
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
        ("client_id", "spa"),
    ];
    let tokens = fixture.post("/oauth2/token", &from, &redeem).await;
    assert_eq!((tokens.status.as_u16(), allowed(&tokens)), (200, ORIGIN), "{}", tokens.body);
    let again = fixture.post("/oauth2/token", &from, &redeem).await;
    assert_eq!(
        (again.error(), allowed(&again)),
        ((400, "invalid_grant".into()), ORIGIN),
        "it reads errors too"
    );

    let code = browser.code("spa", BACK, &[]).await;
    let redeem = redeem.map(|(name, value)| (name, if name == "code" { &*code } else { value }));
    let tokens = fixture.post("/oauth2/token", &from, &redeem).await.json();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let info = fixture.get("/oauth2/userinfo", &[from[0], ("authorization", &bearer)]).await;
    assert_eq!((info.status.as_u16(), allowed(&info)), (200, ORIGIN));
    let broken = fixture.get("/oauth2/userinfo", &[from[0], ("authorization", "Bearer x")]).await;
    assert_eq!((broken.status.as_u16(), allowed(&broken)), (401, ORIGIN));
    assert!(broken.header("access-control-expose-headers").contains("www-authenticate"));
    let revoke = [("token", tokens["refresh_token"].as_str().unwrap()), ("client_id", "spa")];
    let revoked = fixture.post("/oauth2/revoke", &from, &revoke).await;
    assert_eq!((revoked.status.as_u16(), allowed(&revoked)), (200, ORIGIN));
}

#[tokio::test]
async fn other_origins_read_nothing() {
    let fixture = Fixture::new().await;
    register(&fixture, "spa", false, BACK).await;
    register(&fixture, "local", false, "http://localhost:3000/cb").await;
    register(&fixture, "phone", false, "myapp://spa2.example/cb").await;
    register(&fixture, "server", true, "https://server.example/cb").await;
    for origin in [
        "https://evil.example",
        "https://spa.example.evil.example",
        "https://spa.example:8443",
        "https://spa.example/",
        "http://spa.example",
        "HTTPS://SPA.EXAMPLE",
        "https://server.example",
        "https://spa2.example",
        "https://localhost:3000",
        "myapp://spa2.example",
        "null",
        "*",
        "",
    ] {
        for path in ["/oauth2/token", "/oauth2/revoke", "/oauth2/userinfo"] {
            let answer = preflight(&fixture, path, origin, "POST", "authorization").await;
            assert_eq!(allowed(&answer), "", "{path} {origin}");
            let answer = fixture.post(path, &[("origin", origin)], &[]).await;
            assert_eq!(allowed(&answer), "", "{path} {origin}");
        }
    }
    for origin in ["http://localhost:3000", "http://localhost:5173"] {
        let answer = preflight(&fixture, "/oauth2/token", origin, "POST", "content-type").await;
        assert_eq!(allowed(&answer), origin, "any port, as for the redirect URI");
    }
    // not for pages: who may sign in or is signed in is for browsers alone
    for path in ["/oauth2/authorize", "/oauth2/login", "/oauth2/introspect", "/oauth2/device_authorization"] {
        assert_eq!(allowed(&preflight(&fixture, path, ORIGIN, "POST", "content-type").await), "", "{path}");
    }
}

#[tokio::test]
async fn a_change_of_clients_counts_at_once() {
    let fixture = Fixture::new().await;
    let may = async || {
        let answer = preflight(&fixture, "/oauth2/token", ORIGIN, "POST", "content-type").await;
        allowed(&answer) == ORIGIN
    };
    assert!(!may().await);
    register(&fixture, "spa", false, BACK).await;
    assert!(may().await);
    let administration = fixture.provider.administration(None);
    administration.remove_client(&"spa".parse().unwrap()).await.unwrap();
    assert!(!may().await);
}
