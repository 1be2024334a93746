//! Scopes that a client is not registered for are not granted, and the rest is.

use serde_json::Value;

use crate::fixture::{ANN, Answer, Fixture, LOOPBACK, Pairs, REDIRECT, parameter};

/// What many clients ask for as they come, with words that no provider knows.
const MUCH: &str = "openid profile email offline_access urn:made:up api/.default";

fn granted(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["scope"].clone()
}

#[tokio::test]
async fn an_unknown_scope_is_dropped_and_the_response_says_what_was_granted() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    for (client, redirect) in [("web", REDIRECT), ("tool", LOOPBACK), ("cli", LOOPBACK)] {
        let code = browser.code(client, redirect, &[("scope", MUCH)]).await;
        let tokens = fixture.redeem(client, redirect, &code).await;
        assert_eq!(granted(&tokens), "email openid profile", "{client}");
        // the whole text again, as many clients send it
        let token = tokens.json()["refresh_token"].as_str().unwrap().to_owned();
        let again = [("grant_type", "refresh_token"), ("refresh_token", &*token), ("scope", MUCH)];
        let renewed = fixture.post_as(client, "/oauth2/token", &again).await;
        assert_eq!(granted(&renewed), "email openid profile", "{client}");
    }
    let own = [("grant_type", "client_credentials"), ("scope", "api made_up")];
    assert_eq!(granted(&fixture.post_as("service", "/oauth2/token", &own).await), "api");
    let page = browser.authorize("web", REDIRECT, &[("scope", "groups made_up")]).await;
    assert!(page.body.contains("to see your groups") && !page.body.contains("<code>"), "{}", page.body);
}

#[tokio::test]
async fn a_device_is_granted_what_its_client_is_registered_for() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let begun = fixture.post_as("tool", "/oauth2/device_authorization", &[("scope", MUCH)]).await.json();
    let page = browser.get("/oauth2/device").await;
    let csrf = page.hidden("csrf");
    let allow: Pairs<'_> =
        &[("csrf", &csrf), ("user_code", begun["user_code"].as_str().unwrap()), ("decision", "allow")];
    assert_eq!(browser.post("/oauth2/device", allow).await.status, 200);
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", begun["device_code"].as_str().unwrap()),
    ];
    assert_eq!(granted(&fixture.post_as("tool", "/oauth2/token", &poll).await), "email openid profile");
}

#[tokio::test]
async fn a_scope_of_which_nothing_is_left_or_that_is_none_is_refused() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let long = "x".repeat(10_240);
    for scope in ["made_up", "offline_access", "a b c", "openid \"", "openid\tprofile", "öpenid", &long] {
        let answer = browser.authorize("web", REDIRECT, &[("scope", scope)]).await;
        assert_eq!(answer.error(), (303, "invalid_scope".into()), "{scope}");
        assert_eq!(parameter(answer.location(), "state").as_deref(), Some("a state & more"));
        let own = [("grant_type", "client_credentials"), ("scope", scope)];
        let answer = fixture.post_as("service", "/oauth2/token", &own).await;
        assert_eq!(answer.error(), (400, "invalid_scope".into()), "{scope}");
        let device = fixture.post_as("tool", "/oauth2/device_authorization", &[("scope", scope)]).await;
        assert_eq!(device.error(), (400, "invalid_scope".into()), "{scope}");
    }
}
