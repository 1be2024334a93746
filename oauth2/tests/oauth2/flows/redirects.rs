//! Redirect URIs as apps on phones, editors and development servers have them.

use std::collections::BTreeSet;

use mgx_oauth2::{GrantType, NewClient, SigningAlgorithm};

use crate::fixture::{ANN, Fixture, parameter};

/// Registers a public client with this redirect URI.
async fn register(fixture: &Fixture, id: &str, redirect: &str) {
    let new = NewClient {
        id: id.parse().ok(),
        name: "An app".to_owned(),
        confidential: false,
        redirect_uris: vec![redirect.to_owned()],
        post_logout_redirect_uris: vec![redirect.to_owned()],
        grants: BTreeSet::from([GrantType::AuthorizationCode]),
        scope: "openid profile".parse().unwrap(),
        audience: None,
        id_token_alg: SigningAlgorithm::default(),
        first_party: false,
    };
    fixture.provider.administration(None).add_client(new).await.unwrap();
}

#[tokio::test]
async fn a_code_is_sent_to_an_apps_own_scheme_and_to_any_port_of_the_users_machine() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    for (number, (registered, asked)) in [
        ("myapp://callback", "myapp://callback"),
        ("com.example.app://x", "com.example.app://x"),
        ("com.example.app:/x", "com.example.app:/x"),
        ("vscode://vendor.extension/cb?windowId=1", "vscode://vendor.extension/cb?windowId=1"),
        ("http://localhost/cb", "http://localhost:5173/cb"),
        ("http://localhost:3000/cb", "http://localhost:3001/cb"),
        ("http://app.localhost:3000/cb", "http://app.localhost:3000/cb"),
        ("http://127.0.0.1:9/cb", "http://127.0.0.1:43210/cb"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("app_{number}");
        register(&fixture, &id, registered).await;
        let page = browser.authorize(&id, asked, &[]).await;
        assert_eq!(page.status, 200, "{asked}: {}", page.body);
        let (csrf, request) = (page.hidden("csrf"), page.hidden("request"));
        let allow = [("csrf", &*csrf), ("request", &*request), ("decision", "allow")];
        let answer = browser.post("/oauth2/authorize", &allow).await;
        assert!(answer.location().starts_with(asked), "{asked}: {}", answer.location());
        let code = parameter(answer.location(), "code").unwrap();
        let tokens = fixture.redeem(&id, asked, &code).await;
        assert_eq!(tokens.status, 200, "{asked}: {}", tokens.body);
    }
    for (id, other) in [
        ("app_0", "myapp://callback/"),
        ("app_0", "myapp://other"),
        ("app_0", "MYAPP://callback"),
        ("app_0", "myapp://callback.evil.example"),
        ("app_4", "http://localhost:5173/other"),
        ("app_4", "http://localhost.evil.example:5173/cb"),
        ("app_4", "http://localhost:5173@evil.example/cb"),
        ("app_4", "http://127.0.0.1:5173/cb"),
        ("app_4", "https://localhost:5173/cb"),
    ] {
        let answer = browser.authorize(id, other, &[]).await;
        assert_eq!((answer.error(), answer.location()), ((400, "invalid_request".into()), ""), "{other}");
    }
}
