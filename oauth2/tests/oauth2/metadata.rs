//! The metadata, and that the provider behaves as it says.

use crate::fixture::{Fixture, request};

#[tokio::test]
async fn every_address_of_the_metadata_returns_the_same() {
    let fixture = Fixture::new().await;
    let document = fixture.get("/oauth2/.well-known/openid-configuration", &[]).await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&document.json()).unwrap());
    for path in ["/.well-known/oauth-authorization-server/oauth2", "/.well-known/openid-configuration/oauth2"]
    {
        let other = fixture.get(path, &[]).await;
        assert_eq!((other.status.as_u16(), &other.body), (200, &document.body), "{path}");
        assert_eq!(other.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn every_announced_endpoint_exists() {
    let fixture = Fixture::new().await;
    let document = fixture.get("/oauth2/.well-known/openid-configuration", &[]).await.json();
    let mut found = 0;
    for (name, value) in document.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let path = value.as_str().unwrap().strip_prefix("https://mgx.example").unwrap();
            let got = fixture.get(path, &[]).await.status.as_u16();
            let posted = fixture.send(request("POST", path, &[], String::new())).await.status.as_u16();
            assert!(got != 404 && posted != 404, "{name}: {got} {posted}");
            found += 1;
        }
    }
    assert_eq!(found, 8);
    let methods = document["grant_types_supported"].as_array().unwrap();
    assert!(!methods.contains(&"password".into()), "it is never announced");
}

#[tokio::test]
async fn health_and_unknown_paths() {
    let fixture = Fixture::new().await;
    let answer = fixture.get("/oauth2/health", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.json()["service"].as_str().unwrap()), (200, "mgx-oauth2"));
    for path in ["/oauth2", "/oauth2/", "/oauth2/nothing", "/oauth2/token/", "/oauth2/../oauth2/token"] {
        assert_eq!(fixture.get(path, &[]).await.status, 404, "{path}");
    }
}
