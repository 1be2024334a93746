//! Access tokens that are forged, of another issuer or audience, or expired; and how long verification takes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use mgx_oauth2::{Clock, PublicKeys, RevokedTokens, SigningKeys, Verifier};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::fixture::{Fixture, claims};

/// A key that is not the provider's.
struct Forger(EcdsaKeyPair);

impl Forger {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    /// The provider's own key, from its file.
    fn with_the_key_of(fixture: &Fixture) -> Self {
        let text = std::fs::read_to_string(fixture.dir.path().join("signing.key")).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let pkcs8 =
            base64::engine::general_purpose::STANDARD.decode(file["signing"].as_str().unwrap()).unwrap();
        let random = SystemRandom::new();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).unwrap())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

fn header_of(token: &Value) -> Value {
    let head = token.as_str().unwrap().split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap()
}

fn with(value: &Value, name: &str, to: Value) -> Value {
    let mut value = value.clone();
    value[name] = to;
    value
}

/// Whether a verifier accepts the token; userinfo over HTTP has to agree.
async fn is_taken(fixture: &Fixture, token: &str) -> bool {
    let accepted = fixture.provider.verifier("mgx").verify(token).is_ok();
    if let Ok(header) = http::HeaderValue::from_str(&format!("Bearer {token}")) {
        let mut request = crate::fixture::request("GET", "/oauth2/userinfo", &[], String::new());
        request.headers_mut().insert("authorization", header);
        let answer = fixture.send(request).await;
        if !accepted && answer.status != 200 && !token.is_empty() {
            assert_eq!(answer.error(), (401, "invalid_token".into()));
            assert!(answer.header("www-authenticate").contains("invalid_token"));
        }
    }
    accepted
}

#[tokio::test]
async fn a_token_with_another_header_is_refused() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let (header, claims) = (header_of(&tokens["access_token"]), claims(&tokens["access_token"]));
    assert_eq!((&header["typ"], &header["alg"]), (&"at+jwt".into(), &"ES256".into()));
    let (ours, theirs) = (Forger::with_the_key_of(&fixture), Forger::new());
    assert!(
        is_taken(&fixture, &ours.sign(&header, &claims)).await,
        "the control: the forger has the real key"
    );

    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES384")),
        ("alg", json!("es256")),
        ("alg", json!(["ES256"])),
        ("typ", json!("JWT")),
        ("typ", json!("AT+JWT")),
        ("typ", json!("application/at+jwt")),
        ("typ", json!(null)),
        ("kid", json!("../../")),
        ("kid", json!("/dev/null")),
        ("kid", json!("")),
        ("kid", json!(null)),
        ("kid", json!({ "$gt": "" })),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("jwk", json!({ "kty": "EC" })),
        ("x5c", json!([])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let forged = ours.sign(&with(&header, name, value.clone()), &claims);
        assert!(!is_taken(&fixture, &forged).await, "{name}: {value}");
    }
    assert!(!is_taken(&fixture, &theirs.sign(&header, &claims)).await, "another key under our name");
    let (x, y) = theirs.0.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) });
    assert!(
        !is_taken(&fixture, &theirs.sign(&with(&header, "jwk", jwk), &claims)).await,
        "a key that it brings along"
    );
}

#[tokio::test]
async fn an_unsigned_or_hmac_token_is_refused() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let token = tokens["access_token"].as_str().unwrap();
    let (header, claims) = (header_of(&tokens["access_token"]), claims(&tokens["access_token"]));
    let none = message(&json!({ "alg": "none", "typ": "at+jwt" }), &claims);
    for end in ["", ".", ".e30"] {
        assert!(!is_taken(&fixture, &format!("{none}{end}")).await);
    }
    // the public key as the secret of an HMAC
    let jwks = fixture.get("/oauth2/jwks", &[]).await.body;
    let point = Forger::with_the_key_of(&fixture).0.public_key().as_ref().to_vec();
    for secret in [jwks.as_bytes(), &point] {
        let message = message(&with(&header, "alg", json!("HS256")), &claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        assert!(!is_taken(&fixture, &format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))).await);
    }
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    for broken in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        head.to_owned(),
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        format!("{head}.{body}.{}", &signature[1..]),
        format!("{head}.{body}.{signature}="),
        format!("{head}.{body}.{signature}.{signature}"),
        format!("{head}.{body}.{}", "A".repeat(86)),
        format!("{head}..{signature}"),
        format!("{token} "),
        "x".repeat(1 << 20),
        format!("{}.{body}.{signature}", "A".repeat(1 << 20)),
    ] {
        assert!(!is_taken(&fixture, &broken).await, "{}", &broken[..broken.len().min(80)]);
    }
    assert!(is_taken(&fixture, token).await);
}

#[tokio::test]
async fn a_token_of_another_audience_issuer_or_time_is_refused() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let (header, claims) = (header_of(&tokens["access_token"]), claims(&tokens["access_token"]));
    let (ours, now) = (Forger::with_the_key_of(&fixture), fixture.now());
    for (name, value) in [
        ("iss", json!("https://evil.example/oauth2")),
        ("iss", json!("https://mgx.example/oauth2/")),
        ("iss", json!(null)),
        ("aud", json!("other")),
        ("aud", json!(["mgx", "other"])),
        ("aud", json!("")),
        ("exp", json!(now)),
        ("exp", json!(now - 1)),
        ("exp", json!("tomorrow")),
        ("exp", json!(null)),
        ("exp", json!(1e300)),
        ("nbf", json!(now + 61)),
        ("iat", json!(now + 61)),
        ("sub", json!("ann")),
        ("sub", json!(null)),
        ("jti", json!("../x")),
        ("client_id", json!("../x")),
        ("scope", json!(["openid"])),
    ] {
        assert!(
            !is_taken(&fixture, &ours.sign(&header, &with(&claims, name, value.clone()))).await,
            "{name}: {value}"
        );
    }
    assert!(is_taken(&fixture, &ours.sign(&header, &with(&claims, "nbf", json!(now + 60)))).await);
    let token = tokens["access_token"].as_str().unwrap();
    let verifier = fixture.provider.verifier("mgx");
    fixture.pass(599);
    assert!(verifier.verify(token).is_ok());
    fixture.pass(1);
    assert!(verifier.verify(token).is_err(), "ten minutes, although it is known by heart");
}

#[tokio::test]
async fn a_replaced_key_still_verifies_and_a_leaked_one_does_not() {
    let fixture = Fixture::new().await;
    let old = fixture.tokens().await["access_token"].as_str().unwrap().to_owned();
    let verifier = fixture.provider.verifier("mgx");
    verifier.verify(&old).unwrap();
    let kid = fixture.provider.rotate_keys(true).await.unwrap();
    let new = fixture.tokens().await;
    assert_eq!(header_of(&new["access_token"])["kid"], *kid);
    assert!(verifier.verify(&old).is_ok() && verifier.verify(new["access_token"].as_str().unwrap()).is_ok());
    let jwks = fixture.get("/oauth2/jwks", &[]).await.json();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 4, "two of each kind");

    fixture.provider.rotate_keys(false).await.unwrap();
    assert!(verifier.verify(&old).is_err(), "although it is known by heart");
    assert!(verifier.verify(new["access_token"].as_str().unwrap()).is_err());
    let jwks = fixture.get("/oauth2/jwks", &[]).await.json();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2, "one of each kind");
}

#[tokio::test]
async fn old_keys_are_rotated() {
    let fixture = Fixture::new().await;
    let kid = |jwks: Value| jwks["keys"][0]["kid"].clone();
    let before = kid(fixture.get("/oauth2/jwks", &[]).await.json());
    fixture.pass(90 * 86_400 - 1);
    fixture.provider.maintain().await.unwrap();
    assert_eq!(kid(fixture.get("/oauth2/jwks", &[]).await.json()), before);
    fixture.pass(1);
    fixture.provider.maintain().await.unwrap();
    assert_ne!(kid(fixture.get("/oauth2/jwks", &[]).await.json()), before);
}

#[tokio::test]
async fn the_jwks_has_public_keys_only_and_suffices_for_a_verifier() {
    let fixture = Fixture::new().await;
    let answer = fixture.get("/oauth2/jwks", &[]).await;
    assert_eq!(answer.body, fixture.get("/oauth2/.well-known/jwks.json", &[]).await.body);
    let jwks = answer.json();
    let names: Vec<&str> = jwks["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"], "and no d, and no k");
    let keys = PublicKeys::of(&serde_json::from_str(&answer.body).unwrap()).unwrap();
    let now = Timestamp::from_second(fixture.now()).unwrap();
    let issuer = crate::fixture::ISSUER.parse().unwrap();
    let elsewhere =
        Verifier::new(&issuer, Some("mgx".into()), keys, RevokedTokens::default(), Clock::new(move || now));
    let tokens = fixture.tokens().await;
    elsewhere.verify(tokens["access_token"].as_str().unwrap()).unwrap();
    for (name, value) in
        [("alg", "HS256"), ("kty", "oct"), ("crv", "P-384"), ("kid", "x"), ("use", "enc"), ("x", "AA")]
    {
        let mut wrong = jwks.clone();
        wrong["keys"][0][name] = value.into();
        assert!(PublicKeys::of(&serde_json::from_value(wrong).unwrap()).is_err(), "{name}");
    }
}

/// `cargo test --release -p mgx-oauth2 --test oauth2 -- --ignored --nocapture how_long`
#[test]
#[ignore = "measures: for a quiet machine and a release build"]
fn how_long_a_token_takes() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (fixture, tokens) = runtime.block_on(async {
        let fixture = Fixture::new().await;
        let mut tokens = Vec::new();
        for _ in 0..2000 {
            let pairs = [("grant_type", "client_credentials")];
            let body = fixture.post_as("service", "/oauth2/token", &pairs).await.json();
            tokens.push(body["access_token"].as_str().unwrap().to_owned());
        }
        (fixture, tokens)
    });
    let verifier = fixture.provider.verifier("mgx");
    let each = |name: &str| {
        let mut times: Vec<_> = tokens
            .iter()
            .map(|token| {
                let begin = std::time::Instant::now();
                verifier.verify(token).unwrap();
                begin.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{name}: median {:?}, p99 {:?}", times[1000], times[1980]);
        times[1000]
    };
    let (first, again) = (each("a new token"), each("a token that came before"));
    assert!(again.as_micros() <= 50 && first.as_micros() <= 1000, "{first:?} {again:?}");
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signing.key");
    std::fs::write(&path, "{}").unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let error = SigningKeys::load_or_create(&path, now).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}
