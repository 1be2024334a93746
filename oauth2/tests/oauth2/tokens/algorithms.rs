//! Id tokens are signed as each client wants it, and the JWK set has the keys of both kinds.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use mgx_oauth2::{PublicKeys, SigningAlgorithm, SigningKeys};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Value, json};

use crate::fixture::{ANN, Fixture, LOOPBACK, REDIRECT, encode};

/// The header of a token whose signature a key of the JWK set has made, checked with that set alone.
fn header_if_signed(token: &Value, jwks: &Value) -> Value {
    let token = token.as_str().unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let decode = |text: &Value| URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let head = URL_SAFE_NO_PAD.decode(message.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&head).unwrap();
    let mut keys = jwks["keys"].as_array().unwrap().iter();
    let key = keys.find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!((&key["alg"], &key["use"]), (&header["alg"], &json!("sig")));
    let verified = match header["alg"].as_str().unwrap() {
        "RS256" => RsaPublicKeyComponents { n: decode(&key["n"]), e: decode(&key["e"]) }.verify(
            &RSA_PKCS1_2048_8192_SHA256,
            message.as_bytes(),
            &signature,
        ),
        "ES256" => {
            let point = [&[4], &*decode(&key["x"]), &*decode(&key["y"])].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message.as_bytes(), &signature)
        }
        other => panic!("{other}"),
    };
    verified.unwrap();
    header
}

#[tokio::test]
async fn an_id_token_is_signed_with_rs256_unless_the_client_wants_es256() {
    let fixture = Fixture::new().await;
    let jwks = fixture.get("/oauth2/jwks", &[]).await.json();
    let kinds: Vec<_> = jwks["keys"].as_array().unwrap().iter().map(|key| key["kty"].clone()).collect();
    assert_eq!(kinds, ["EC", "RSA"]);
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        assert!(jwks["keys"].as_array().unwrap().iter().all(|key| key.get(private).is_none()), "{private}");
    }
    let document = fixture.get("/oauth2/.well-known/openid-configuration", &[]).await.json();
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["RS256", "ES256"]));
    for (client, redirect, alg) in [("web", REDIRECT, "RS256"), ("tool", LOOPBACK, "ES256")] {
        let mut browser = fixture.browser();
        browser.sign_in("ann", ANN).await;
        let code = browser.code(client, redirect, &[]).await;
        let tokens = fixture.redeem(client, redirect, &code).await.json();
        let header = header_if_signed(&tokens["id_token"], &jwks);
        assert_eq!((&header["alg"], &header["typ"]), (&json!(alg), &json!("JWT")), "{client}");
        let access = header_if_signed(&tokens["access_token"], &jwks);
        assert_eq!(access["alg"], "ES256", "the API verifies one algorithm");
        // either one tells the provider whom to sign out
        let hint = encode(&[("id_token_hint", tokens["id_token"].as_str().unwrap())]);
        let out = browser.get(&format!("/oauth2/logout?{hint}")).await;
        assert!(out.body.contains("You are signed out."), "{client}: {}", out.body);
    }
}

#[tokio::test]
async fn a_token_is_verified_by_the_algorithm_of_its_key_and_never_by_that_of_its_header() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let hint = tokens["id_token"].as_str().unwrap();
    let (head, rest) = hint.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
    let jwks = fixture.get("/oauth2/jwks", &[]).await.json();
    let es256 = &jwks["keys"][0]["kid"];
    for (name, value) in [
        ("alg", json!("ES256")),
        ("alg", json!("HS256")),
        ("alg", json!("RS384")),
        ("alg", json!("PS256")),
        ("alg", json!("none")),
        ("kid", es256.clone()),
        ("typ", json!("at+jwt")),
    ] {
        let mut forged = header.clone();
        forged[name] = value;
        let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(forged.to_string()));
        let answer =
            fixture.get(&format!("/oauth2/logout?{}", encode(&[("id_token_hint", &forged)])), &[]).await;
        assert_eq!(answer.error(), (400, "invalid_request".into()), "{name}");
    }
    // an RSA key of the set signs no access tokens
    let as_access = format!("Bearer {hint}");
    let answer = fixture.get("/oauth2/userinfo", &[("authorization", &as_access)]).await;
    assert_eq!(answer.error(), (401, "invalid_token".into()));
    let keys = PublicKeys::of(&serde_json::from_value(jwks.clone()).unwrap());
    assert!(keys.is_ok(), "a verifier elsewhere reads the set as it is");
    for (name, value) in
        [("alg", "PS256"), ("alg", "ES256"), ("e", "Aw"), ("n", "AA"), ("kty", "EC"), ("kid", "x")]
    {
        let mut wrong = jwks.clone();
        wrong["keys"][1][name] = value.into();
        assert!(PublicKeys::of(&serde_json::from_value(wrong).unwrap()).is_err(), "{name}");
    }
}

#[tokio::test]
async fn both_keys_are_replaced_together() {
    let fixture = Fixture::new().await;
    let kids = async || {
        let jwks = fixture.get("/oauth2/jwks", &[]).await.json();
        let keys = jwks["keys"].as_array().unwrap().iter();
        keys.map(|key| (key["kty"].to_string(), key["kid"].to_string())).collect::<Vec<_>>()
    };
    let before = kids().await;
    let old = fixture.tokens().await;
    fixture.provider.rotate_keys(true).await.unwrap();
    let after = kids().await;
    assert!(after.len() == 4 && before.iter().all(|old| after[2..].contains(old)), "{before:?} {after:?}");
    let jwks = fixture.get("/oauth2/jwks", &[]).await.json();
    header_if_signed(&old["id_token"], &jwks);
    header_if_signed(&fixture.tokens().await["id_token"], &jwks);
    fixture.pass(3600);
    assert_eq!(kids().await, after[..2], "an hour later the old ones are gone");
    fixture.provider.rotate_keys(false).await.unwrap();
    let newest = kids().await;
    assert!(newest.len() == 2 && newest.iter().all(|key| !after.contains(key)), "{newest:?}");
}

#[test]
fn a_key_file_without_an_rsa_key_is_given_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, now) = (dir.path().join("signing.key"), Timestamp::UNIX_EPOCH);
    let jwks = |keys: &SigningKeys| serde_json::to_value(keys.public().jwks(now)).unwrap();
    let first = jwks(&SigningKeys::for_tests(&path, now).unwrap());
    let mut file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    file.as_object_mut().unwrap().remove("rsa");
    let point = STANDARD.encode([&[4][..], &[7; 64]].concat());
    file["retired"] = json!([{ "point": point, "until": "1970-01-01T01:00:00Z" }]);
    std::fs::write(&path, file.to_string()).unwrap();
    let upgraded = jwks(&SigningKeys::load_or_create(&path, now).unwrap());
    assert_eq!(upgraded["keys"][0], first["keys"][0], "the key for ES256 stays");
    assert_eq!((&upgraded["keys"][1]["kty"], upgraded["keys"].as_array().unwrap().len()), (&json!("RSA"), 3));
    assert_eq!(jwks(&SigningKeys::load_or_create(&path, now).unwrap()), upgraded);
}

#[test]
fn a_client_of_a_store_that_knew_no_rs256_keeps_es256() {
    let stored = json!({
        "id": "old", "name": "Old", "kind": "public", "redirect_uris": ["https://app.example/cb"],
        "post_logout_redirect_uris": [], "grants": ["authorization_code"], "scope": "openid",
        "audience": "old", "first_party": false, "created_at": "2026-01-01T00:00:00Z",
    });
    let client: mgx_oauth2::Client = serde_json::from_value(stored).unwrap();
    assert_eq!(client.id_token_alg, SigningAlgorithm::Es256);
}
