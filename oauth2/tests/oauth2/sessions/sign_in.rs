//! Signing in: pages, cookies, CSRF and guessing.

use std::net::IpAddr;

use crate::fixture::{ANN, BOB, Fixture, REDIRECT, encode, request};

#[tokio::test]
async fn the_sign_in_page() {
    let fixture = Fixture::new().await;
    let page = fixture.get("/oauth2/login", &[("accept-language", "en")]).await;
    insta::assert_snapshot!(page.body.replace(&page.hidden("csrf"), "[csrf]").replace("><", ">\n<"));
    let page = fixture.get("/oauth2/login", &[("accept-language", "zh-CN,zh;q=0.9,en;q=0.8")]).await;
    assert!(
        page.body.contains(r#"<html lang="zh-Hans">"#) && page.body.contains("<h1>登录</h1>"),
        "{}",
        page.body
    );
    assert_eq!(
        page.header("content-security-policy"),
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), value, "{name}");
    }
    let style = fixture.get("/oauth2/style.css", &[]).await;
    assert_eq!((style.status.as_u16(), style.header("content-type")), (200, "text/css; charset=utf-8"));
}

/// No script, no inline style, every field with a label, every page with a heading and a language.
#[tokio::test]
async fn every_page_is_accessible_and_has_no_script() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    let mut pages = vec![
        browser.get("/oauth2/login").await,
        browser.get("/oauth2/authorize").await,
        browser.try_sign_in("ann", "wrong").await,
        browser.get("/oauth2/logout").await,
    ];
    browser.sign_in("ann", ANN).await;
    pages.push(browser.authorize("web", REDIRECT, &[]).await);
    pages.push(browser.get("/oauth2/device").await);
    pages.push(browser.get("/oauth2/password").await);
    pages.push(browser.post("/oauth2/password", &[]).await);
    pages.push(browser.get("/oauth2/logout").await);
    for page in pages {
        let html = &page.body;
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(html.starts_with(r#"<!doctype html><html lang=""#), "{html}");
        assert_eq!((html.matches("<h1>").count(), html.matches("<main>").count()), (1, 1), "{html}");
        for never in ["<script", "style=", "<style", " onclick", "javascript:", "<img", "http:"] {
            assert!(!html.contains(never), "{never}: {html}");
        }
        let fields = html.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap());
        for field in fields.filter(|field| !field.contains(r#"type="hidden""#)) {
            let id = field.split(r#"id=""#).nth(1).unwrap().split('"').next().unwrap();
            assert!(html.contains(&format!(r#"<label for="{id}">"#)), "{field}");
        }
    }
}

#[tokio::test]
async fn user_input_is_escaped_on_every_page() {
    let fixture = Fixture::new().await;
    let attack = r#""><script>alert(1)</script>"#;
    let mut browser = fixture.browser();
    let answer = browser.try_sign_in(attack, "x").await;
    let device = browser
        .get(&format!("/oauth2/login?{}", encode(&[("continue", "/oauth2/device?user_code=\"><script>")])))
        .await;
    browser.sign_in("ann", ANN).await;
    let typed = browser.get(&format!("/oauth2/device?{}", encode(&[("user_code", attack)]))).await;
    let consent = browser.authorize("web", REDIRECT, &[("state", attack)]).await;
    for page in [answer, device, typed, consent] {
        assert!(!page.body.contains("<script"), "{}", page.body);
    }
}

#[tokio::test]
async fn cookies_have_the_flags_that_protect_them() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    let answer = browser.try_sign_in("ann", ANN).await;
    let cookies: Vec<&str> =
        answer.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    for cookie in cookies {
        for flag in ["__Secure-", "; Path=/oauth2;", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
            assert!(cookie.contains(flag), "{flag}: {cookie}");
        }
        assert!(!cookie.contains("Domain"));
    }
    let plain =
        Fixture::with(|settings| settings.issuer = "http://10.0.0.7:8765/oauth2".parse().unwrap()).await;
    let page = plain.get("/oauth2/login", &[]).await;
    let cookie = page.header("set-cookie");
    assert!(
        cookie.starts_with("mgx_login=") && !cookie.contains("Secure") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
}

#[tokio::test]
async fn the_cookie_changes_at_sign_in() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let first = browser.cookies.clone();
    browser.sign_in("ann", ANN).await;
    assert_ne!(browser.cookies, first);
    let mut thief = fixture.browser();
    thief.cookies = first;
    let answer = thief.authorize("cli", crate::fixture::LOOPBACK, &[]).await;
    assert!(answer.location().starts_with("/oauth2/login?"), "the old cookie is not valid");
    // a cookie chosen by an attacker is not valid, nor is a second one beside the real one
    let mut fixed = fixture.browser();
    fixed.cookies.insert("__Secure-mgx_session".into(), "mgx_bs_chosen".into());
    fixed.sign_in("ann", ANN).await;
    assert_ne!(fixed.cookies["__Secure-mgx_session"], "mgx_bs_chosen");
    let real = &browser.cookies["__Secure-mgx_session"];
    let both = format!("__Secure-mgx_session=x; __Secure-mgx_session={real}");
    let answer = fixture.get("/oauth2/device", &[("cookie", &both)]).await;
    assert!(answer.location().starts_with("/oauth2/login?"));
}

#[tokio::test]
async fn a_forged_sign_in_form_is_refused() {
    let fixture = Fixture::new().await;
    let mut attacker = fixture.browser();
    let csrf = attacker.get("/oauth2/login").await.hidden("csrf");
    let pairs = [("csrf", &*csrf), ("username", "ann"), ("password", ANN)];
    let mut victim = fixture.browser();
    victim.get("/oauth2/login").await;
    assert_eq!(victim.post("/oauth2/login", &pairs).await.status, 403, "the token of another browser");
    assert_eq!(fixture.browser().post("/oauth2/login", &pairs).await.status, 403, "no cookie at all");
    assert_eq!(attacker.post("/oauth2/login", &pairs[1..]).await.status, 403, "no token");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let headers = [("content-type", "application/x-www-form-urlencoded"), (name, value)];
        let answer = attacker.send(request("POST", "/oauth2/login", &headers, encode(&pairs))).await;
        assert_eq!(answer.status, 403, "{name}: {value}");
    }
    assert_eq!(attacker.post("/oauth2/login", &pairs).await.status, 303, "the control");
}

#[tokio::test]
async fn every_wrong_sign_in_has_the_same_response() {
    let fixture = Fixture::with(|settings| {
        settings.throttle.failures_before_delay = 1000;
        settings.throttle.failures_per_address_per_minute = 1000;
    })
    .await;
    let mut browser = fixture.browser();
    let csrf = browser.get("/oauth2/login").await.hidden("csrf");
    let mut bodies = std::collections::BTreeSet::new();
    let long = "x".repeat(2000);
    for (name, password) in [
        ("ann", "wrong"),
        ("nobody", ANN),
        ("ANN", ANN),
        ("", ANN),
        ("ann", ""),
        ("ann\0", ANN),
        ("ann", "seven grey herons wade\0"),
        ("ann' OR '1'='1", "x"),
        ("{\"$gt\":\"\"}", "{\"$gt\":\"\"}"),
        ("ann", "' OR 1=1 --"),
        ("a\u{308}nn", ANN),
        ("ann", &long),
        (&long, &long),
    ] {
        let pairs = [("csrf", &*csrf), ("username", name), ("password", password)];
        let answer = browser.post("/oauth2/login", &pairs).await;
        assert_eq!(answer.status, 401, "{name:?} {password:?}");
        // the page shows the name again, and the focus depends on it
        let body = answer.body.replace(" autofocus", "");
        let (before, rest) = body.split_once(r#"name="username" value=""#).unwrap();
        bodies.insert(format!("{before}{}", rest.split_once('"').unwrap().1));
    }
    assert_eq!(bodies.len(), 1, "the same body for all of them");
    let huge = [("csrf", &*csrf), ("username", "ann"), ("password", &"x".repeat(1 << 20))];
    assert_eq!(browser.post("/oauth2/login", &huge).await.status, 413);
    let list = format!("csrf={csrf}&username=ann&username=bob&password=x");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(browser.send(request("POST", "/oauth2/login", &headers, list)).await.status, 400);
}

#[tokio::test]
async fn ten_thousand_guesses_fail_and_do_not_lock_the_user_out() {
    let fixture = Fixture::new().await;
    let mut attacker = fixture.browser();
    attacker.peer = "203.0.113.9".parse().unwrap();
    let csrf = attacker.get("/oauth2/login").await.hidden("csrf");
    let mut statuses = std::collections::BTreeMap::new();
    for guess in 0..10_000 {
        let pairs = [("csrf", &*csrf), ("username", "ann"), ("password", &*format!("guess number {guess}"))];
        let answer = attacker.post("/oauth2/login", &pairs).await;
        *statuses.entry(answer.status.as_u16()).or_insert(0) += 1;
        if guess == 9_999 {
            assert_eq!(answer.header("retry-after"), "60");
        }
    }
    assert_eq!(statuses, [(401, 5), (429, 9_995)].into());
    let right = attacker.try_sign_in("ann", ANN).await;
    assert_eq!(right.status, 429, "not even the right one from there");
    let mut ann = fixture.browser();
    ann.sign_in("ann", ANN).await;
    let failed = fixture
        .audit()
        .await
        .into_iter()
        .filter(|event| matches!(event, mgx_oauth2::AuditEvent::SignInFailed { .. }));
    assert_eq!(failed.count(), 5, "what is not tried is not written down");
}

#[tokio::test]
async fn an_address_that_guesses_is_throttled_and_one_with_many_users_is_not() {
    let fixture = Fixture::new().await;
    let mut attacker = fixture.browser();
    attacker.peer = IpAddr::from([203, 0, 113, 10]);
    let csrf = attacker.get("/oauth2/login").await.hidden("csrf");
    let mut let_through = 0;
    for user in 0..100 {
        let name = format!("user{user}");
        let pairs = [("csrf", &*csrf), ("username", &*name), ("password", "guess")];
        let_through += usize::from(attacker.post("/oauth2/login", &pairs).await.status == 401);
    }
    assert_eq!(let_through, 20);
    for _ in 0..50 {
        fixture.browser().sign_in("bob", BOB).await;
        fixture.browser().sign_in("ann", ANN).await;
    }
}

#[tokio::test]
async fn a_new_password_ends_all_sessions() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let tokens = fixture.tokens().await;
    fixture.provider.administration(None).set_password(fixture.ann.id, Some(BOB.into())).await.unwrap();
    assert!(browser.get("/oauth2/device").await.location().starts_with("/oauth2/login"));
    assert_eq!(fixture.refresh("web", tokens["refresh_token"].as_str().unwrap()).await.status, 400);
    assert_eq!(browser.try_sign_in("ann", ANN).await.status, 401);
    browser.sign_in("ann", BOB).await;
    for weak in ["short", "passwordpassword", "ann-ann-ann-ann-ann", "aaaaaaaaaaaaaaaaaaaa"] {
        assert!(
            fixture
                .provider
                .administration(None)
                .set_password(fixture.ann.id, Some(weak.into()))
                .await
                .is_err(),
            "{weak}"
        );
    }
}

#[tokio::test]
async fn a_session_can_be_ended_from_another_browser() {
    use mgx_oauth2::Sessions as _;
    let fixture = Fixture::new().await;
    let (mut lost, mut kept) = (fixture.browser(), fixture.browser());
    lost.sign_in("ann", ANN).await;
    fixture.pass(1);
    kept.sign_in("ann", ANN).await;
    let now = jiff::Timestamp::from_second(fixture.now()).unwrap();
    let sessions = fixture.storage.sessions_of(fixture.ann.id, now, 10).await.unwrap();
    assert!(
        !fixture
            .provider
            .administration(None)
            .end_session(mgx_oauth2::UserId(uuid::Uuid::nil()), sessions[1].id)
            .await
            .unwrap()
    );
    assert!(fixture.provider.administration(None).end_session(fixture.ann.id, sessions[1].id).await.unwrap());
    assert_eq!(lost.get("/oauth2/device").await.status, 303);
    assert_eq!(kept.get("/oauth2/device").await.status, 200);
}

#[tokio::test]
async fn a_session_expires_after_twelve_hours() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    fixture.pass(12 * 3600 - 1);
    assert_eq!(browser.get("/oauth2/device").await.status, 200);
    fixture.pass(1);
    assert_eq!(browser.get("/oauth2/device").await.status, 303);
}

#[tokio::test]
async fn another_user_in_the_same_browser_inherits_nothing() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let code = browser.code("web", REDIRECT, &[]).await;
    let tokens = fixture.redeem("web", REDIRECT, &code).await.json();
    browser.sign_in("bob", BOB).await;
    assert_eq!(
        fixture.refresh("web", tokens["refresh_token"].as_str().unwrap()).await.status,
        400,
        "ann is signed out"
    );
}

#[tokio::test]
async fn the_first_administrator_has_a_random_password() {
    use mgx_oauth2::{Clock, MemoryStorage, Provider, RandomSource, Settings, SigningKeys};
    use secrecy::ExposeSecret as _;
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::new(|| jiff::Timestamp::UNIX_EPOCH);
    let keys = SigningKeys::for_tests(&dir.path().join("k"), clock.now()).unwrap();
    let settings = Settings::new(crate::fixture::ISSUER.parse().unwrap());
    let storage = std::sync::Arc::new(MemoryStorage::default());
    let provider = Provider::new(settings, storage, keys, clock, RandomSource::system()).await.unwrap();
    let password =
        provider.administration(None).add_first_admin(None).await.unwrap().expect("there are no users yet");
    assert_eq!(password.expose_secret().len(), 22, "128 bits");
    assert!(provider.administration(None).add_first_admin(None).await.unwrap().is_none(), "shown once");
    let user = provider.check_password("admin", &password, [127, 0, 0, 1].into()).await.unwrap();
    assert!(user.groups.contains("admin"));
    for known in ["admin", "admin123", "password", ""] {
        assert!(provider.check_password("admin", &known.into(), [127, 0, 0, 2].into()).await.is_err());
    }
}
