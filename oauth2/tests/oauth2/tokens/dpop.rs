//! DPoP: tokens that are valid only with a proof of the key that they are bound to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mgx_oauth2::{BoundTokenError, DpopProof, InvalidProof};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::fixture::{ANN, Answer, Fixture, LOOPBACK, VERIFIER, claims};

const TOKEN: &str = "https://mgx.example/oauth2/token";
const API: &str = "https://mgx.example/api/sessions";

/// A client's key.
struct Holder(EcdsaKeyPair);

impl Holder {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    fn header(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": y } })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn prove(&self, fixture: &Fixture, method: &str, uri: &str, token: Option<&str>) -> String {
        self.sign(&self.header(), &proof(fixture, method, uri, token))
    }
}

/// The claims of a valid proof.
fn proof(fixture: &Fixture, method: &str, uri: &str, token: Option<&str>) -> Value {
    let jti =
        uuid::Uuid::from_u128(u128::from_be_bytes(mgx_oauth2::RandomSource::system().bytes())).to_string();
    let mut claims = json!({ "jti": jti, "htm": method, "htu": uri, "iat": fixture.now() });
    if let Some(token) = token {
        let hash = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        claims["ath"] = URL_SAFE_NO_PAD.encode(hash).into();
    }
    claims
}

/// The tokens of ann for client `cli`, bound to the key of `holder`.
async fn bound(fixture: &Fixture, holder: &Holder) -> Value {
    let mut browser = fixture.browser();
    browser.sign_in("ann", ANN).await;
    let code = browser.code("cli", LOOPBACK, &[]).await;
    let pairs = [
        ("grant_type", "authorization_code"),
        ("client_id", "cli"),
        ("code", &*code),
        ("redirect_uri", LOOPBACK),
        ("code_verifier", VERIFIER),
    ];
    let proof = holder.prove(fixture, "POST", TOKEN, None);
    let answer = fixture.post("/oauth2/token", &[("dpop", &proof)], &pairs).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

async fn refresh(fixture: &Fixture, tokens: &Value, proof: Option<&str>) -> Answer {
    let token = tokens["refresh_token"].as_str().unwrap();
    let pairs = [("grant_type", "refresh_token"), ("client_id", "cli"), ("refresh_token", token)];
    let headers: Vec<_> = proof.map(|proof| ("dpop", proof)).into_iter().collect();
    fixture.post("/oauth2/token", &headers, &pairs).await
}

#[tokio::test]
async fn a_bound_token_is_valid_only_with_its_key() {
    let fixture = Fixture::new().await;
    let (holder, thief) = (Holder::new(), Holder::new());
    let tokens = bound(&fixture, &holder).await;
    assert_eq!(tokens["token_type"], "DPoP");
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(claims(&tokens["access_token"])["cnf"]["jkt"].as_str().unwrap().len(), 43);
    let verifier = fixture.provider.verifier("mgx");
    assert!(verifier.verify(access).is_err(), "it is no bearer token");
    let show =
        |text: &str| verifier.verify_bound(access, DpopProof { text, method: "GET", uri: API }).map(drop);
    let good = holder.prove(&fixture, "GET", API, Some(access));
    assert_eq!(show(&good), Ok(()));
    assert_eq!(show(&good), Err(BoundTokenError::Proof(InvalidProof)), "a proof counts once");
    assert_eq!(
        show(&thief.prove(&fixture, "GET", API, Some(access))),
        Err(BoundTokenError::Proof(InvalidProof))
    );
    assert_eq!(show(&holder.prove(&fixture, "GET", &format!("{API}?page=2#x"), Some(access))), Ok(()));

    let bearer = fixture.tokens().await["access_token"].as_str().unwrap().to_owned();
    let text = holder.prove(&fixture, "GET", API, Some(&bearer));
    let shown = verifier.verify_bound(&bearer, DpopProof { text: &text, method: "GET", uri: API }).map(drop);
    assert!(matches!(shown, Err(BoundTokenError::Token(_))), "nor is a bearer token a bound one");
}

#[tokio::test]
async fn a_proof_is_recent_for_its_request_and_signed_by_its_key() {
    let fixture = Fixture::new().await;
    let holder = Holder::new();
    let tokens = bound(&fixture, &holder).await;
    let access = tokens["access_token"].as_str().unwrap();
    let verifier = fixture.provider.verifier("mgx");
    let (header, claims) = (holder.header(), || proof(&fixture, "GET", API, Some(access)));
    let show =
        |text: &str| verifier.verify_bound(access, DpopProof { text, method: "GET", uri: API }).is_ok();
    let with = |value: &Value, name: &str, to: &Value| {
        let mut value = value.clone();
        value[name] = to.clone();
        value
    };
    for (name, value) in [
        ("htm", json!("POST")),
        ("htm", json!("get")),
        ("htu", json!("https://mgx.example/api/jobs")),
        ("htu", json!("https://evil.example/api/sessions")),
        ("htu", json!("")),
        ("ath", json!("x")),
        ("ath", json!(null)),
        ("iat", json!(fixture.now() - 61)),
        ("iat", json!(fixture.now() + 61)),
        ("iat", json!(null)),
        ("jti", json!("")),
        ("jti", json!("x".repeat(300))),
        ("jti", json!(null)),
    ] {
        assert!(!show(&holder.sign(&header, &with(&claims(), name, &value))), "{name}: {value}");
    }
    let mut private = header.clone();
    private["jwk"]["d"] = "x".into();
    let mut other = header.clone();
    other["jwk"] = Holder::new().header()["jwk"].clone();
    for header in [
        with(&header, "alg", &json!("none")),
        with(&header, "alg", &json!("HS256")),
        with(&header, "typ", &json!("JWT")),
        with(&header, "jku", &json!("https://evil.example/")),
        with(&header, "jwk", &json!({ "kty": "oct", "k": "x" })),
        private,
        other,
    ] {
        assert!(!show(&holder.sign(&header, &claims())), "{header}");
    }
    for nonsense in ["", "a.b.c", &"x".repeat(10_000)] {
        assert!(!show(nonsense));
    }
    assert!(show(&holder.sign(&header, &with(&claims(), "iat", &json!(fixture.now() - 60)))));
}

#[tokio::test]
async fn a_refresh_token_of_a_public_client_is_bound_as_well() {
    let fixture = Fixture::new().await;
    let (holder, thief) = (Holder::new(), Holder::new());
    let tokens = bound(&fixture, &holder).await;
    assert_eq!(refresh(&fixture, &tokens, None).await.error(), (400, "invalid_grant".into()));
    let stolen = thief.prove(&fixture, "POST", TOKEN, None);
    assert_eq!(refresh(&fixture, &tokens, Some(&stolen)).await.error(), (400, "invalid_grant".into()));
    let wrong = holder.prove(&fixture, "POST", API, None);
    assert_eq!(refresh(&fixture, &tokens, Some(&wrong)).await.error(), (400, "invalid_dpop_proof".into()));
    let good = holder.prove(&fixture, "POST", TOKEN, None);
    let next = refresh(&fixture, &tokens, Some(&good)).await.json();
    assert_eq!(next["token_type"], "DPoP", "and nothing of this has used it up");
}

#[tokio::test]
async fn userinfo_and_introspection_support_bound_tokens() {
    let fixture = Fixture::new().await;
    let holder = Holder::new();
    let tokens = bound(&fixture, &holder).await;
    let access = tokens["access_token"].as_str().unwrap();
    let uri = "https://mgx.example/oauth2/userinfo";
    let authorization = format!("DPoP {access}");
    let good = holder.prove(&fixture, "GET", uri, Some(access));
    let asked = [("authorization", &*authorization), ("dpop", &*good)];
    assert_eq!(fixture.get("/oauth2/userinfo", &asked).await.json()["preferred_username"], "ann");
    let again = fixture.get("/oauth2/userinfo", &asked).await;
    assert_eq!(again.error(), (401, "invalid_dpop_proof".into()));
    assert!(again.header("www-authenticate").starts_with("DPoP error="));
    let without = fixture.get("/oauth2/userinfo", &asked[..1]).await;
    assert_eq!(without.error(), (401, "invalid_dpop_proof".into()));
    let bearer = format!("Bearer {access}");
    let answer = fixture.get("/oauth2/userinfo", &[("authorization", &bearer)]).await;
    assert_eq!(answer.error(), (401, "invalid_token".into()));
    let told = fixture.post_as("service", "/oauth2/introspect", &[("token", access)]).await.json();
    assert_eq!((&told["active"], &told["token_type"]), (&true.into(), &"DPoP".into()));
    assert_eq!(told["cnf"]["jkt"], claims(&tokens["access_token"])["cnf"]["jkt"]);
}
