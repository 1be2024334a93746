//! Invalid tokens and sign-ins at a running server (C7). Elsewhere, in `mgx-oauth2` (`tests/oauth2`): redirects and
//! parameters (`authorize`), codes (`code`), tokens with every other header, issuer, audience and time (`jwt`), refresh
//! tokens at once (`refresh`), forms (`clients`), passwords (`sign_in`); and what the API makes of tokens, in `mgx-api`
//! (`auth_tests`).

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mgx_testkit::client::http;
use mgx_testkit::{Client, Server};
use reqwest::Method;
use serde_json::{Value, json};

use super::{code, everything, raw};

#[tokio::test]
async fn a_token_that_is_none_opens_nothing() -> Result<()> {
    let server = Server::start("runtime = \"null\"", &[]).await?;
    let before = everything(&server.client()).await?;
    let keys: Value = http().get(format!("{}/oauth2/jwks", server.url())).send().await?.json().await?;
    let kid = &keys["keys"][0]["kid"];
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({ "iss": format!("{}/oauth2", server.url()), "aud": "mgx", "sub": "admin", "client_id": "mgx-cli",
        "scope": "read write admin", "jti": "00000000-0000-7000-8000-000000000000", "iat": 1, "exp": 9_999_999_999_u64 });
    for header in [
        json!({ "alg": "none", "typ": "at+jwt", "kid": kid }),
        json!({ "alg": "HS256", "typ": "at+jwt", "kid": kid }),
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": "../../etc/passwd" }),
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid, "jku": format!("{}/x", server.url()) }),
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid, "jwk": keys["keys"][0] }),
        json!({ "alg": "ES256", "typ": "JWT", "kid": kid }),
    ] {
        for signature in ["", "AAAA", &"A".repeat(86)] {
            let client =
                Client::new(server.url(), &format!("{}.{}.{signature}", part(&header), part(&claims)));
            for (method, path) in
                [(Method::GET, "/api/me"), (Method::POST, "/api/sessions"), (Method::GET, "/api/admin/users")]
            {
                let got = code(&client, method.clone(), path, &[super::JSON], b"{}".to_vec()).await?;
                assert_eq!(got, (401, "unauthorized".to_owned()), "{method} {path} {header}");
            }
        }
    }
    let huge =
        format!("GET /api/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = raw(&server, huge.as_bytes()).await?;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(everything(&server.client()).await?, before);
    Ok(())
}

#[tokio::test]
async fn the_token_endpoint_takes_forms_by_post_and_no_more_than_it_needs() -> Result<()> {
    let server = Server::start("runtime = \"null\"", &[]).await?;
    let url = |path: &str| format!("{}{path}", server.url());
    let form = "application/x-www-form-urlencoded";
    assert_eq!(http().get(url("/oauth2/token?grant_type=client_credentials")).send().await?.status(), 405);
    for (kind, body, status, error) in [
        (
            "application/json",
            json!({ "grant_type": "client_credentials" }).to_string(),
            400,
            "invalid_request",
        ),
        (form, String::new(), 400, "invalid_request"),
        (
            form,
            "grant_type=password&username=admin&password=x&client_id=mgx-cli".to_owned(),
            400,
            "unsupported_grant_type",
        ),
        (
            form,
            "grant_type=refresh_token&refresh_token=x&client_id=mgx-cli&client_id=x".to_owned(),
            400,
            "invalid_request",
        ),
        (
            form,
            "grant_type=client_credentials&client_id=nobody&client_secret=x".to_owned(),
            401,
            "invalid_client",
        ),
    ] {
        let answer =
            http().post(url("/oauth2/token")).header("content-type", kind).body(body.clone()).send().await?;
        let got = answer.status().as_u16();
        let problem: Value = answer.json().await?;
        assert_eq!((got, &problem["error"]), (status, &json!(error)), "{body}: {problem}");
    }
    let large = http()
        .post(url("/oauth2/login"))
        .header("content-type", form)
        .body("x".repeat(1 << 20))
        .send()
        .await?;
    assert_eq!(large.status(), 413);
    let page = http()
        .get(url("/oauth2/authorize?client_id=nobody&redirect_uri=https://evil.example/"))
        .send()
        .await?;
    assert_eq!((page.status().as_u16(), page.headers().get("location")), (400, None));
    Ok(())
}
