//! Authorization requests: redirects, errors, prompts and consent.

use mgx_oauth2::ErrorCode;

use crate::fixture::{ANN, Answer, CHALLENGE, Fixture, LOOPBACK, REDIRECT, claims, encode, parameter, query};

const GOOD: [(&str, &str); 6] = [
    ("response_type", "code"),
    ("client_id", "web"),
    ("redirect_uri", REDIRECT),
    ("scope", "openid"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

#[tokio::test]
async fn an_unregistered_redirect_uri_is_never_redirected_to() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    for redirect in [
        "",
        "https://app.example/cb/",
        "https://app.example/cbx",
        "https://app.example/CB",
        "https://APP.example/cb",
        "https://app.example:443/cb",
        "https://app.example:8443/cb",
        "https://app.example@evil.example/cb",
        "https://app.example/cb#x",
        "https://app.example/cb?x",
        "https://evil.example/cb",
        "http://app.example/cb",
        "https://app.example/./cb",
        "https://app.example.evil.example/cb",
        "//app.example/cb",
        "javascript:alert(1)",
    ] {
        let answer = browser.authorize("web", redirect, &[]).await;
        assert_eq!(answer.error(), (400, "invalid_request".into()), "{redirect}");
        assert_eq!(answer.location(), "", "{redirect}");
    }
    for client in ["", "nobody", "WEB", "../x", "web\0"] {
        let answer = browser.authorize(client, REDIRECT, &[]).await;
        assert_eq!((answer.error(), answer.location()), ((400, "invalid_request".into()), ""), "{client:?}");
    }
}

#[tokio::test]
async fn repeated_parameters_are_refused_on_a_page() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    for (name, value) in GOOD {
        for again in [value, "other"] {
            let query = format!("{}&{}", encode(&GOOD), encode(&[(name, again)]));
            let answer = browser.get(&format!("/oauth2/authorize?{query}")).await;
            assert_eq!((answer.error(), answer.location()), ((400, "invalid_request".into()), ""), "{query}");
        }
    }
    // `name[]` is another parameter, so the required one is missing
    for name in ["client_id", "redirect_uri"] {
        let query = encode(&GOOD).replace(name, &format!("{name}[]"));
        let answer = browser.get(&format!("/oauth2/authorize?{query}")).await;
        assert_eq!((answer.error(), answer.location()), ((400, "invalid_request".into()), ""), "{query}");
    }
    for broken in ["client_id=%ff", &format!("client_id=web&x={}", "x".repeat(20_000))] {
        let answer = browser.get(&format!("/oauth2/authorize?{broken}")).await;
        assert_eq!(answer.error(), (400, "invalid_request".into()));
    }
}

#[tokio::test]
async fn other_errors_are_redirected_with_state_and_issuer() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let long = "x ".repeat(5 * 1024);
    for (changes, error) in [
        (&[("response_type", "token")][..], ErrorCode::UnsupportedResponseType),
        (&[("response_type", "code id_token")], ErrorCode::UnsupportedResponseType),
        (&[("response_type", "")], ErrorCode::InvalidRequest),
        (&[("code_challenge", "")], ErrorCode::InvalidRequest),
        (&[("code_challenge_method", "")], ErrorCode::InvalidRequest),
        (&[("code_challenge_method", "plain")], ErrorCode::InvalidRequest),
        (&[("code_challenge_method", "s256")], ErrorCode::InvalidRequest),
        (&[("code_challenge", "short")], ErrorCode::InvalidRequest),
        (&[("response_mode", "fragment")], ErrorCode::InvalidRequest),
        (&[("scope", "admin")], ErrorCode::InvalidScope),
        (&[("scope", "openid \"x\"")], ErrorCode::InvalidScope),
        (&[("scope", &long)], ErrorCode::InvalidScope),
        (&[("prompt", "none login")], ErrorCode::InvalidRequest),
        (&[("prompt", "whatever")], ErrorCode::InvalidRequest),
        (&[("max_age", "-1")], ErrorCode::InvalidRequest),
        (&[("max_age", "soon")], ErrorCode::InvalidRequest),
        (&[("request", "e30.e30.")], ErrorCode::RequestNotSupported),
        (&[("request_uri", "https://evil.example/")], ErrorCode::RequestUriNotSupported),
    ] {
        let answer = browser.authorize("web", REDIRECT, changes).await;
        assert_eq!(answer.error(), (303, error.name().to_owned()), "{changes:?}");
        let location = answer.location();
        assert!(location.starts_with("https://app.example/cb?"), "{location}");
        assert_eq!(parameter(location, "state").as_deref(), Some("a state & more"));
        assert_eq!(parameter(location, "iss").as_deref(), Some("https://mgx.example/oauth2"));
        assert_eq!(parameter(location, "code"), None);
    }
    let answer = browser.authorize("service", REDIRECT, &[]).await;
    assert_eq!(
        answer.error(),
        (400, "invalid_request".into()),
        "a client without a redirect URI has nowhere to go"
    );
}

#[tokio::test]
async fn prompt_none_reports_what_is_missing() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    for (signed_in, error) in [(false, "login_required"), (true, "consent_required")] {
        if signed_in {
            browser.sign_in("ann", ANN).await;
        }
        let answer = browser.authorize("web", REDIRECT, &[("prompt", "none")]).await;
        assert_eq!(answer.error(), (303, error.into()));
    }
    browser.code("web", REDIRECT, &[]).await;
    let answer = browser.authorize("web", REDIRECT, &[("prompt", "none")]).await;
    assert!(parameter(answer.location(), "code").is_some(), "what was allowed is remembered");
    let more = [("prompt", "none"), ("scope", "openid profile email")];
    assert_eq!(browser.authorize("web", REDIRECT, &more).await.error(), (303, "consent_required".into()));
    let answer = browser.authorize("web", REDIRECT, &[("prompt", "consent")]).await;
    assert_eq!(answer.status, 200, "unless the client wants it to be asked again");
}

#[tokio::test]
async fn a_sign_in_continues_with_the_authorization_request() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    let answer = browser.authorize("cli", "http://127.0.0.1:43210/cb", &[("login_hint", "ann")]).await;
    assert_eq!(answer.status, 303);
    let login = answer.location().to_owned();
    assert!(login.starts_with("/oauth2/login?continue="), "{login}");
    let page = browser.get(&login).await;
    assert!(
        page.body.contains(r#"name="username" value="ann""#)
            && page.body.contains("The cli &amp; &quot;Co&quot;")
    );
    assert!(!page.header("content-security-policy").contains("form-action"), "it leads to the client");
    let (csrf, back) = (page.hidden("csrf"), page.hidden("continue"));
    let pairs = [("csrf", &*csrf), ("continue", &*back), ("username", "ann"), ("password", ANN)];
    let answer = browser.post("/oauth2/login", &pairs).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (303, &*back), "303: a password is not sent on");
    let answer = browser.get(&back).await;
    assert!(answer.location().starts_with("http://127.0.0.1:43210/cb?code="), "{}", answer.location());

    // a user who is signed in is asked again if the client demands it, and only once
    let answer = browser.authorize("cli", LOOPBACK, &[("prompt", "login")]).await;
    assert!(answer.location().starts_with("/oauth2/login?"));
    let back = parameter(answer.location(), "continue").unwrap();
    assert_eq!(parameter(&back, "prompt"), None);
    fixture.pass(100);
    let answer = browser.authorize("cli", LOOPBACK, &[("max_age", "99")]).await;
    assert!(answer.location().starts_with("/oauth2/login?"), "{}", answer.location());
    let answer = browser.authorize("cli", LOOPBACK, &[("max_age", "100")]).await;
    assert!(parameter(answer.location(), "code").is_some(), "{}", answer.location());
}

#[tokio::test]
async fn a_sign_in_continues_to_pages_of_the_provider_only() {
    let fixture = Fixture::new().await;
    for place in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/oauth2/authorize@evil.example",
        "javascript:alert(1)",
        "/oauth2/device\r\nSet-Cookie: x=y",
        "/other",
        "/oauth2/authorizex?",
        "\t/oauth2/device",
    ] {
        let mut browser = fixture.browser();
        let page = browser.get(&format!("/oauth2/login?{}", encode(&[("continue", place)]))).await;
        assert_eq!(page.hidden("continue"), "", "{place}");
        let csrf = page.hidden("csrf");
        let pairs = [("csrf", &*csrf), ("continue", place), ("username", "ann"), ("password", ANN)];
        let answer = browser.post("/oauth2/login", &pairs).await;
        assert_eq!(answer.location(), "/", "{place}");
    }
}

#[tokio::test]
async fn the_consent_page_shows_client_and_scope_and_cannot_be_forged() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let page = browser.authorize("web", REDIRECT, &[]).await;
    assert_eq!(page.status, 200);
    for shown in
        ["The web &amp; &quot;Co&quot; wants access", "to see your name", "https://app.example", ": ann<"]
    {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'; style-src 'self'")
    );
    assert_eq!(page.header("x-frame-options"), "DENY");
    let (csrf, request) = (page.hidden("csrf"), page.hidden("request"));

    let forged = browser
        .post("/oauth2/authorize", &[("csrf", "x"), ("request", &request), ("decision", "allow")])
        .await;
    assert_eq!((forged.status.as_u16(), forged.location()), (403, ""));
    let allow = [("csrf", &*csrf), ("request", &*request), ("decision", "allow")];
    let mut elsewhere = crate::fixture::request(
        "POST",
        "/oauth2/authorize",
        &[("content-type", "application/x-www-form-urlencoded"), ("origin", "https://evil.example")],
        encode(&allow),
    );
    elsewhere.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(browser.send(elsewhere).await.status, 403);

    let denied = browser
        .post("/oauth2/authorize", &[("csrf", &csrf), ("request", &request), ("decision", "deny")])
        .await;
    assert_eq!(denied.error(), (303, "access_denied".into()));
    let changed = request.replace("app.example", "evil.example");
    let pairs = [("csrf", &*csrf), ("request", &*changed), ("decision", "allow")];
    assert_eq!(browser.post("/oauth2/authorize", &pairs).await.error(), (400, "invalid_request".into()));
    let answer = browser.post("/oauth2/authorize", &allow).await;
    assert!(parameter(answer.location(), "code").is_some());

    // a client without a secret can be impersonated, so the user is asked each time
    for _ in 0..2 {
        assert_eq!(browser.authorize("tool", LOOPBACK, &[]).await.status, 200);
        browser.code("tool", LOOPBACK, &[]).await;
    }
}

#[tokio::test]
async fn a_demanded_sign_in_is_demanded_once() {
    let fixture = Fixture::new().await;
    for demand in [
        &[("max_age", "0")][..],
        &[("max_age", "1")],
        &[("prompt", "login")],
        &[("prompt", "login consent"), ("max_age", "0")],
        &[("prompt", "select_account"), ("max_age", "00")],
    ] {
        let mut browser = fixture.browser();
        browser.sign_in("ann", ANN).await;
        fixture.pass(5);
        let answer = browser.authorize("web", REDIRECT, demand).await;
        assert!(answer.location().starts_with("/oauth2/login?"), "{demand:?} {}", answer.location());
        let page = browser.get(answer.location()).await;
        let back = page.hidden("continue");
        // who was signed in before and does not sign in again gets no further
        let skipped = browser.get(&back).await;
        assert!(skipped.location().starts_with("/oauth2/login?"), "{demand:?} {}", skipped.location());
        fixture.pass(30);
        let csrf = page.hidden("csrf");
        let pairs = [("csrf", &*csrf), ("continue", &*back), ("username", "ann"), ("password", ANN)];
        let signed_in = fixture.now();
        assert_eq!(browser.post("/oauth2/login", &pairs).await.location(), back, "{demand:?}");
        // the redirect and the decision take their time
        fixture.pass(30);
        let mut answer = browser.get(&back).await;
        if answer.status == 200 {
            let (csrf, request) = (answer.hidden("csrf"), answer.hidden("request"));
            fixture.pass(30);
            let pairs = [("csrf", &*csrf), ("request", &*request), ("decision", "allow")];
            answer = browser.post("/oauth2/authorize", &pairs).await;
        }
        let code = parameter(answer.location(), "code");
        let code = code.unwrap_or_else(|| panic!("{demand:?} {} {}", answer.location(), answer.body));
        let tokens = fixture.redeem("web", REDIRECT, &code).await.json();
        assert_eq!(claims(&tokens["id_token"])["auth_time"], signed_in, "{demand:?}");
    }
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let silent = browser.authorize("web", REDIRECT, &[("prompt", "none"), ("max_age", "0")]).await;
    assert_eq!(silent.error(), (303, "login_required".into()));
    // a time that has not come cannot be waited for
    let future = [("max_age", "9"), ("mgx_signed_in_since", "9999999999")];
    let answer = browser.authorize("web", REDIRECT, &future).await;
    let back = parameter(answer.location(), "continue").unwrap();
    assert!(parameter(&back, "mgx_signed_in_since").unwrap() != "9999999999", "{back}");
}

#[tokio::test]
async fn a_client_without_pkce_is_told_that_it_has_to_use_it() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    for changes in [
        &[("code_challenge", ""), ("code_challenge_method", "")][..],
        &[("code_challenge", "")],
        &[("code_challenge_method", "")],
        &[("code_challenge_method", "plain")],
    ] {
        let answer = browser.authorize("web", REDIRECT, changes).await;
        assert_eq!(answer.error(), (303, "invalid_request".into()), "{changes:?}");
        let said = parameter(answer.location(), "error_description").unwrap();
        assert!(said.contains("the client has to use PKCE") && said.contains("RFC 7636"), "{said}");
        let plain = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(said.bytes().all(plain), "{said}");
    }
    browser.sign_in("ann", ANN).await;
    let code = browser.code("web", REDIRECT, &[]).await;
    let pairs = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", REDIRECT)];
    let answer = fixture.post_as("web", "/oauth2/token", &pairs).await;
    assert_eq!(answer.error(), (400, "invalid_request".into()));
    let said = answer.json()["error_description"].to_string();
    assert!(said.contains("code_verifier is missing: the client has to use PKCE"), "{said}");
}

#[tokio::test]
async fn a_form_that_leads_to_a_client_may_be_redirected_on_from_there() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    let policy = |page: &Answer| page.header("content-security-policy").to_owned();
    let answer = browser.authorize("web", REDIRECT, &[]).await;
    let for_a_client = browser.get(answer.location()).await;
    let alone = browser.get("/oauth2/login").await;
    browser.sign_in("ann", ANN).await;
    let confidential = browser.authorize("web", REDIRECT, &[]).await;
    let public = browser.authorize("tool", LOOPBACK, &[]).await;
    let bye = encode(&[("client_id", "web"), ("post_logout_redirect_uri", "https://app.example/bye")]);
    let sign_out = browser.get(&format!("/oauth2/logout?{bye}")).await;
    // browsers apply `form-action` to every redirect after a form, and the client may send the browser anywhere
    for page in [&for_a_client, &confidential, &public, &sign_out] {
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("<form") && !policy(page).contains("form-action"), "{}", policy(page));
        assert!(policy(page).starts_with("default-src 'none';"), "{}", policy(page));
    }
    let device = browser.get("/oauth2/device").await;
    let stays = browser.get("/oauth2/logout").await;
    for page in [&alone, &device, &stays] {
        assert!(policy(page).contains("form-action 'self';"), "{}", policy(page));
    }
}

#[tokio::test]
async fn a_request_may_come_as_a_form() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let query = query("cli", LOOPBACK, &[]);
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    let answer = browser.post("/oauth2/authorize", &pairs).await;
    assert_eq!(answer.status, 303);
    let answer = browser.get(answer.location()).await;
    assert!(answer.location().starts_with("http://127.0.0.1/cb?code="), "{}", answer.location());
}
