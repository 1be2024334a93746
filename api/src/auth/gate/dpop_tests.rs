//! Access tokens that are bound to a key (RFC 9449), at the API.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt;
use jiff::Timestamp;
use mgx_oauth2::{GrantType, NewClient, SigningAlgorithm};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::testing::server::{TestServer, test_server};

const HERE: &str = "http://127.0.0.1:8765";

/// A client's key.
struct Holder(EcdsaKeyPair);

impl Holder {
    fn new() -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).unwrap())
    }

    /// A proof for one request, with the token if there is one yet.
    fn prove(&self, method: &str, path: &str, token: Option<&str>) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let ath = token.map(|token| URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())));
        let claims = json!({ "jti": uuid::Uuid::now_v7(), "htm": method, "htu": format!("{HERE}{path}"),
            "iat": Timestamp::now().as_second(), "ath": ath });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An access token for this API that is bound to the key of `holder`.
async fn bound(server: &TestServer, holder: &Holder) -> String {
    let new = NewClient {
        id: Some("service".parse().unwrap()),
        name: "Service".to_owned(),
        confidential: true,
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: BTreeSet::from([GrantType::ClientCredentials]),
        scope: "read write".parse().unwrap(),
        audience: Some("mgx".to_owned()),
        id_token_alg: SigningAlgorithm::default(),
        first_party: true,
    };
    let (_, secret) = server.provider.administration(None).add_client(new).await.unwrap();
    let secret = secret.unwrap().expose_secret().to_owned();
    let form = format!("grant_type=client_credentials&client_id=service&client_secret={secret}&scope=read");
    let request = Request::post("/oauth2/token").header("content-type", "application/x-www-form-urlencoded");
    let request = request.header("dpop", holder.prove("POST", "/oauth2/token", None));
    let answer = server.send(request, form).await.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["token_type"], "DPoP", "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_bound_token_is_accepted_once_with_a_proof_of_its_key_for_this_request() {
    let server = test_server().await;
    let (holder, attacker) = (Holder::new(), Holder::new());
    let token = bound(&server, &holder).await;
    let ask = async |authorization: &str, proofs: &[&str]| {
        let mut request = Request::get("/api/me?x").header("authorization", authorization);
        for proof in proofs {
            request = request.header("dpop", *proof);
        }
        let answer = server.send(request, Body::empty()).await;
        let challenge =
            answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), challenge.unwrap_or_default())
    };
    let dpop = format!("DPoP {token}");
    let proof = holder.prove("GET", "/api/me", Some(&token));
    assert_eq!(ask(&dpop, &[&proof]).await, (200, String::new()));
    let bad_proof = (401, r#"DPoP realm="mgx", error="invalid_dpop_proof", algs="ES256""#.to_owned());
    let another = holder.prove("GET", "/api/me", Some(&token));
    for proofs in [
        &[&*proof][..],
        &[],
        &["nonsense"],
        &[&another, &another],
        &[&holder.prove("POST", "/api/me", Some(&token))],
        &[&holder.prove("GET", "/api/sessions", Some(&token))],
        &[&holder.prove("GET", "/api/me", Some("another token"))],
        &[&holder.prove("GET", "/api/me", None)],
        &[&attacker.prove("GET", "/api/me", Some(&token))],
    ] {
        assert_eq!(ask(&dpop, proofs).await, bad_proof, "{proofs:?}");
    }
    // a bound token is refused as a bearer token, and an unbound token is refused with a proof
    let alone = (401, r#"Bearer realm="mgx", error="invalid_token", DPoP algs="ES256""#.to_owned());
    let proof = holder.prove("GET", "/api/me", Some(&token));
    assert_eq!(ask(&format!("Bearer {token}"), &[&proof]).await, alone);
    let anna = server.user("anna", &[]).await;
    let api = server.api_token(&anna, "read").await;
    let proof = holder.prove("GET", "/api/me", Some(&api));
    let no_token = (401, r#"DPoP realm="mgx", error="invalid_token", algs="ES256""#.to_owned());
    assert_eq!(ask(&format!("DPoP {api}"), &[&proof]).await, no_token);
}
