//! Client authentication and the client credentials grant.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mgx_oauth2::Subject;
use secrecy::ExposeSecret as _;

use crate::fixture::{ANN, Fixture, LOOPBACK, Pairs, VERIFIER, claims, encode, request};

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// The media type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

const ASK: [(&str, &str); 1] = [("grant_type", "client_credentials")];

#[tokio::test]
async fn client_credentials_give_a_token_of_the_client() {
    let fixture = Fixture::new().await;
    let answer = fixture.post_as("service", "/oauth2/token", &[ASK[0], ("scope", "api")]).await;
    let tokens = answer.json();
    assert!(tokens["refresh_token"].is_null() && tokens["id_token"].is_null(), "{tokens}");
    let access = fixture.provider.verifier("mgx").verify(tokens["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((&access.subject, access.client.as_str()), (&Subject::Client, "service"));
    assert_eq!(claims(&tokens["access_token"])["sub"], "service");
    let more = fixture.post_as("service", "/oauth2/token", &[ASK[0], ("scope", "root")]).await;
    assert_eq!(more.error(), (400, "invalid_scope".into()));
    for client in ["web", "cli"] {
        let answer = fixture.post_as(client, "/oauth2/token", &ASK).await;
        assert_eq!(answer.error(), (400, "unauthorized_client".into()), "{client}");
    }
}

#[tokio::test]
async fn a_client_authenticates_in_one_way_with_the_right_secret() {
    let fixture = Fixture::new().await;
    let secret = &*fixture.secrets["service"];
    let (good, bad) = (basic("service", secret), basic("service", "wrong"));
    let post = |headers, pairs: Vec<(&'static str, &'static str)>| {
        let fixture = &fixture;
        async move { fixture.post("/oauth2/token", headers, &pairs).await }
    };
    assert_eq!(post(&[("authorization", &*good)][..], ASK.to_vec()).await.status, 200);
    let in_body = [ASK[0], ("client_id", "service"), ("client_secret", secret)];
    assert_eq!(fixture.post("/oauth2/token", &[], &in_body).await.status, 200);
    let named = [ASK[0], ("client_id", "service")];
    assert_eq!(fixture.post("/oauth2/token", &[("authorization", &good)], &named).await.status, 200);

    let both = fixture.post("/oauth2/token", &[("authorization", &good)], &in_body).await;
    assert_eq!(both.error(), (400, "invalid_request".into()));
    let twice = [("authorization", &*good), ("authorization", &*good)];
    assert_eq!(fixture.post("/oauth2/token", &twice, &ASK).await.error(), (400, "invalid_request".into()));
    let others = [ASK[0], ("client_id", "web")];
    let mixed = fixture.post("/oauth2/token", &[("authorization", &good)], &others).await;
    assert_eq!(mixed.error(), (400, "invalid_request".into()));

    let unknown = basic("nobody", secret);
    for header in [&*bad, &unknown, "Basic x", "Basic", "Bearer x", "Basic Og==", &basic("service", "")] {
        let answer = fixture.post("/oauth2/token", &[("authorization", header)], &ASK).await;
        assert_eq!(answer.error(), (401, "invalid_client".into()), "{header}");
        assert_eq!(answer.header("www-authenticate"), r#"Basic realm="mgx""#);
    }
    for pairs in [
        &[ASK[0]][..],
        &[ASK[0], ("client_id", "service")],
        &[ASK[0], ("client_id", "service"), ("client_secret", "x")],
    ] {
        let answer = fixture.post("/oauth2/token", &[], pairs).await;
        assert_eq!(answer.error(), (401, "invalid_client".into()), "{pairs:?}");
    }
    let assertion = [ASK[0], ("client_id", "service"), ("client_assertion", "x.y.z")];
    assert_eq!(fixture.post("/oauth2/token", &[], &assertion).await.error(), (401, "invalid_client".into()));
}

#[tokio::test]
async fn a_public_client_may_show_an_empty_secret_in_the_header_too() {
    let fixture = Fixture::new().await;
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let ways: [(Option<String>, Pairs<'_>); 5] = [
        (Some(basic("tool", "")), &[]),
        (Some(basic("tool", "")), &[("client_id", "tool")]),
        (Some(basic("tool", "")), &[("client_id", "tool"), ("client_secret", "")]),
        (None, &[("client_id", "tool"), ("client_secret", "")]),
        (None, &[("client_id", "tool")]),
    ];
    for (header, more) in ways {
        let headers: Vec<_> = header.iter().map(|value| ("authorization", &**value)).collect();
        let code = browser.code("tool", LOOPBACK, &[]).await;
        let redeem = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", LOOPBACK),
            ("code_verifier", VERIFIER),
        ];
        let answer = fixture.post("/oauth2/token", &headers, &[&redeem, more].concat()).await;
        assert_eq!(answer.status, 200, "{header:?} {more:?}: {}", answer.body);
        let token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
        let answer = fixture.post("/oauth2/token", &headers, &[&refresh[..], more].concat()).await;
        assert_eq!(answer.status, 200, "{header:?} {more:?}: {}", answer.body);
        let token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
        let answer = fixture.post("/oauth2/revoke", &headers, &[&[("token", &*token)], more].concat()).await;
        assert_eq!(answer.status, 200, "{header:?} {more:?}: {}", answer.body);
    }
    // an empty secret is none for a client that has one, and a public client has no other
    for header in [basic("web", ""), basic("tool", "x"), basic("tool", " "), basic("", ""), basic("", "x")] {
        let answer = fixture.post("/oauth2/revoke", &[("authorization", &header)], &[("token", "x")]).await;
        assert_eq!(answer.error(), (401, "invalid_client".into()), "{header}");
    }
    let header = basic("tool", "");
    let introspect =
        fixture.post("/oauth2/introspect", &[("authorization", &header)], &[("token", "x")]).await;
    assert_eq!(introspect.error(), (401, "invalid_client".into()), "it proves nothing");
}

#[tokio::test]
async fn a_secret_is_256_bits_and_is_replaced_with_and_without_overlap() {
    let fixture = Fixture::new().await;
    let old = fixture.secrets["service"].clone();
    assert!(old.starts_with("mgx_cs_") && old.len() == 7 + 43);
    let id = "service".parse().unwrap();
    let works = |secret: String| {
        let fixture = &fixture;
        async move {
            fixture.post("/oauth2/token", &[("authorization", &basic("service", &secret))], &ASK).await.status
                == 200
        }
    };
    let new = fixture
        .provider
        .administration(None)
        .rotate_client_secret(&id, true)
        .await
        .unwrap()
        .expose_secret()
        .to_owned();
    assert!(works(old.clone()).await && works(new.clone()).await);
    let newest = fixture
        .provider
        .administration(None)
        .rotate_client_secret(&id, false)
        .await
        .unwrap()
        .expose_secret()
        .to_owned();
    assert!(!works(old).await && !works(new).await && works(newest).await);
}

#[tokio::test]
async fn the_token_endpoint_accepts_only_a_form_by_post() {
    let fixture = Fixture::new().await;
    for method in ["GET", "PUT", "DELETE"] {
        let answer = fixture.send(request(method, "/oauth2/token", &[], String::new())).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"), "{method}");
    }
    let auth = basic("service", &fixture.secrets["service"]);
    let send = |kind: &'static str, body: String| {
        let (fixture, auth) = (&fixture, &auth);
        let headers = [("content-type", kind), ("authorization", &**auth)];
        let request = request("POST", "/oauth2/token", &headers, body);
        async move { fixture.send(request).await }
    };
    let invalid = (400, "invalid_request".to_owned());
    let json = send("application/json", r#"{"grant_type":"client_credentials"}"#.to_owned()).await;
    assert_eq!(json.error(), invalid);
    assert_eq!(send("text/plain", encode(&ASK)).await.error(), invalid);
    let twice = "grant_type=client_credentials&grant_type=client_credentials".to_owned();
    assert_eq!(send(FORM, twice).await.error(), invalid);
    assert_eq!(send(FORM, "grant_type[]=client_credentials".to_owned()).await.error(), invalid);
    assert_eq!(send(FORM, "grant_type=%ff".to_owned()).await.error(), invalid);
    assert_eq!(send(FORM, String::new()).await.error(), invalid);
    assert_eq!(send(FORM, "grant_type=".to_owned()).await.error(), invalid);
    let large = format!("grant_type=client_credentials&x={}", "x".repeat(1 << 20));
    assert_eq!(send(FORM, large).await.error(), (413, "invalid_request".into()));
    let encoded = [("content-type", FORM), ("authorization", &*auth), ("content-encoding", "gzip")];
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke", "/oauth2/device_authorization"] {
        let refused = fixture.send(request("POST", path, &encoded, encode(&ASK))).await;
        assert_eq!(refused.error(), (415, "invalid_request".into()), "{path}");
    }
    for grant in [
        "implicit",
        "password ",
        "AUTHORIZATION_CODE",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "password",
    ] {
        let answer =
            send(FORM, encode(&[("grant_type", grant), ("username", "ann"), ("password", "x")])).await;
        assert_eq!(answer.error(), (400, "unsupported_grant_type".into()), "{grant}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(send("application/x-www-form-urlencoded; charset=UTF-8", encode(&ASK)).await.status, 200);
}

#[tokio::test]
async fn removing_a_client_revokes_its_tokens() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    fixture.provider.administration(None).remove_client(&"web".parse().unwrap()).await.unwrap();
    assert!(fixture.provider.verifier("mgx").verify(tokens["access_token"].as_str().unwrap()).is_err());
    let answer = fixture.refresh("web", tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(answer.error(), (401, "invalid_client".into()));
}
