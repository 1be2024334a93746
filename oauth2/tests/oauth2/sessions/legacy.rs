//! The legacy sign-in form, which is off unless the operator enables it.

use std::fmt::Write as _;

use crate::fixture::{ANN, Fixture, request};

const FORM: [(&str, &str); 2] = [("username", "ann"), ("password", ANN)];

#[tokio::test]
async fn the_legacy_form_is_off_by_default() {
    let fixture = Fixture::new().await;
    assert_eq!(
        fixture.post("/oauth2/token", &[], &FORM).await.error(),
        (400, "unsupported_grant_type".into())
    );
    let grant = [FORM[0], FORM[1], ("grant_type", "password")];
    for client in ["web", "cli", "service"] {
        let answer = fixture.post_as(client, "/oauth2/token", &grant).await;
        assert_eq!(answer.error(), (400, "unsupported_grant_type".into()), "{client}");
    }
}

#[tokio::test]
async fn an_enabled_legacy_form_answers_as_legacy_clients_expect() {
    let fixture = Fixture::with(|settings| settings.legacy_client = "legacy".parse().ok()).await;
    let answer = fixture.post("/oauth2/token", &[], &FORM).await;
    let tokens = answer.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&"bearer".into(), &600.into()));
    let access = fixture.provider.verifier("mgx").verify(tokens["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(access.username.as_ref().map(ToString::to_string).as_deref(), Some("ann"));
    assert!(tokens["refresh_token"].is_null());

    let wrong = fixture.post("/oauth2/token", &[], &[FORM[0], ("password", "wrong")]).await;
    assert_eq!(
        (wrong.error(), wrong.header("www-authenticate")),
        ((401, "invalid_grant".into()), r#"Bearer realm="mgx""#)
    );
    let unknown = fixture.post("/oauth2/token", &[], &[("username", "nobody"), FORM[1]]).await;
    assert_eq!((unknown.status, &unknown.body), (wrong.status, &wrong.body));
    for _ in 0..4 {
        fixture.post("/oauth2/token", &[], &[FORM[0], ("password", "wrong")]).await;
    }
    let throttled = fixture.post("/oauth2/token", &[], &FORM).await;
    assert_eq!((throttled.status.as_u16(), throttled.header("retry-after")), (429, "60"));
}

/// The form as a browser's `FormData` is sent.
fn multipart(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        write!(body, "--x7\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").unwrap();
    }
    body + "--x7--\r\n"
}

#[tokio::test]
async fn an_enabled_legacy_form_may_be_multipart() {
    let headers = [("content-type", "multipart/form-data; boundary=x7")];
    let fixture = Fixture::with(|settings| settings.legacy_client = "legacy".parse().ok()).await;
    let send = |body: String| fixture.send(request("POST", "/oauth2/token", &headers, body));
    let tokens = send(multipart(&FORM)).await.json();
    assert_eq!(tokens["token_type"], "bearer");
    let wrong = send(multipart(&[FORM[0], ("password", "wrong")])).await;
    assert_eq!(wrong.error(), (401, "invalid_grant".into()));
    let invalid = (400, "invalid_request".to_owned());
    assert_eq!(send(multipart(&[FORM[0], FORM[0], FORM[1]])).await.error(), invalid, "a field twice");
    assert_eq!(send(multipart(&FORM).replace("--x7--", "")).await.error(), invalid, "cut");
    let file = multipart(&FORM).replace("name=\"password\"", "name=\"password\"; filename=\"p.txt\"");
    assert_eq!(send(file).await.error(), invalid, "a file");
    assert_eq!(send(String::new()).await.error(), invalid);

    let fixture = Fixture::new().await;
    let off = fixture.send(request("POST", "/oauth2/token", &headers, multipart(&FORM))).await;
    assert_eq!(off.error(), invalid, "unless passwords are accepted, a form is urlencoded");
}

#[tokio::test]
async fn only_a_client_of_the_platform_may_have_the_password_grant() {
    use mgx_oauth2::{GrantType, NewClient, SigningAlgorithm};
    let fixture = Fixture::new().await;
    let new = NewClient {
        id: None,
        name: "Theirs".into(),
        confidential: true,
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: [GrantType::Password].into(),
        scope: "openid".parse().unwrap(),
        audience: None,
        id_token_alg: SigningAlgorithm::default(),
        first_party: false,
    };
    assert!(fixture.provider.administration(None).add_client(new).await.is_err());
}
