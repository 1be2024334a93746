//! A provider in memory with one user and some clients, against which client libraries are run:
//! `cargo run -p mgx-oauth2 --features testing --example serve -- [MUTATION]`.
//!
//! Prints address, user and clients as one line of JSON, and serves until its standard input ends. With a mutation it
//! makes one mistake, which a correct client library has to detect: this shows that the tests can fail.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for tests")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header;
use jiff::Timestamp;
use mgx_oauth2::{
    Clock, GrantType, MemoryStorage, NewClient, NewUser, Provider, RandomSource, Settings, SigningAlgorithm,
    SigningKeys, router,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

/// A mistake that the server makes.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    /// The redirect does not name the issuer (RFC 9207).
    NoIss,
    /// The redirect names another issuer.
    OtherIss,
    /// The id token is for another client.
    OtherAud,
    /// The id token is of another issuer.
    OtherIssuer,
    /// The id token answers another request.
    OtherNonce,
    /// The id token was changed after it was signed.
    Unsigned,
    /// The access token is for another audience.
    OtherAccessAud,
    /// The state is not the one that was sent.
    OtherState,
}

impl Mutation {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "no-iss" => Self::NoIss,
            "other-iss" => Self::OtherIss,
            "other-aud" => Self::OtherAud,
            "other-issuer" => Self::OtherIssuer,
            "other-nonce" => Self::OtherNonce,
            "unsigned" => Self::Unsigned,
            "other-access-aud" => Self::OtherAccessAud,
            "other-state" => Self::OtherState,
            _ => return None,
        })
    }
}

/// The password of the user.
const PASSWORD: &str = "seven grey herons wade";

#[tokio::main]
async fn main() {
    let mutation = std::env::args().nth(1).map(|name| Mutation::named(&name).expect("a mutation"));
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("signing.key");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clock = Clock::new(Timestamp::now);
    let keys = SigningKeys::for_tests(&key, clock.now()).unwrap();
    let settings = Settings::new(format!("http://{address}/oauth2").parse().unwrap());
    let storage = Arc::new(MemoryStorage::default());
    let provider = Provider::new(settings, storage, keys, clock, RandomSource::system()).await.unwrap();
    let provider = Arc::new(provider);
    println!("{}", people(&provider).await);
    let mutated = from_fn_with_state((mutation, Arc::new(key)), mutate);
    let app = router(provider).layer(mutated).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(end_of_input()).await.unwrap();
}

/// Resolves when the parent process has closed standard input.
async fn end_of_input() {
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await.ok();
}

/// Adds the user and the clients, and describes them.
async fn people(provider: &Provider) -> Value {
    let new = NewUser {
        name: "ann".parse().unwrap(),
        display_name: "Ann".to_owned(),
        email: Some("ann@example.org".to_owned()),
        email_verified: false,
        groups: ["builders".to_owned()].into(),
        password: Some(PASSWORD.into()),
    };
    let (user, _) = provider.administration(None).add_user(new).await.unwrap();
    let mut clients = Map::new();
    for (id, confidential, first_party) in [("web", true, true), ("third", true, false), ("cli", false, true)]
    {
        let all = [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::DeviceCode];
        let new = NewClient {
            id: id.parse().ok(),
            name: id.to_owned(),
            confidential,
            redirect_uris: vec!["https://app.example/cb".to_owned(), "http://127.0.0.1/cb".to_owned()],
            post_logout_redirect_uris: vec!["https://app.example/bye".to_owned()],
            grants: all.into_iter().chain(confidential.then_some(GrantType::ClientCredentials)).collect(),
            scope: "openid profile email groups api".parse().unwrap(),
            audience: Some("mgx".to_owned()),
            id_token_alg: SigningAlgorithm::default(),
            first_party,
        };
        let (_, secret) = provider.administration(None).add_client(new).await.unwrap();
        clients.insert(id.to_owned(), secret.map(|secret| secret.expose_secret().to_owned()).into());
    }
    json!({
        "issuer": provider.settings().issuer.as_str(),
        "user": user.name.as_str(),
        "sub": user.id.to_string(),
        "password": PASSWORD,
        "clients": clients,
    })
}

/// Makes the mistake.
async fn mutate(
    State((mutation, key)): State<(Option<Mutation>, Arc<PathBuf>)>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let Some(mutation) = mutation else { return response };
    let (mut parts, body) = response.into_parts();
    if let Some(location) = parts.headers.get_mut(header::LOCATION) {
        let text = location.to_str().unwrap().to_owned();
        *location = redirect(mutation, &text).parse().unwrap();
    }
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    let Ok(mut tokens) = serde_json::from_slice::<Value>(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    for name in ["id_token", "access_token"] {
        if let Some(token) = tokens[name].as_str() {
            tokens[name] = forge(mutation, name, token, &key).into();
        }
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(tokens.to_string()))
}

fn redirect(mutation: Mutation, location: &str) -> String {
    let Some((uri, query)) = location.split_once('?') else { return location.to_owned() };
    let mut changed = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = match (mutation, &*name) {
            (Mutation::NoIss, "iss") => continue,
            (Mutation::OtherIss, "iss") => "https://evil.example/oauth2".into(),
            (Mutation::OtherState, "state") => "another".into(),
            _ => value,
        };
        changed.append_pair(&name, &value);
    }
    format!("{uri}?{}", changed.finish())
}

fn forge(mutation: Mutation, name: &str, token: &str, key: &Path) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    match (mutation, name) {
        (Mutation::OtherAud, "id_token") | (Mutation::OtherAccessAud, "access_token") => {
            claims["aud"] = "somebody-else".into();
        }
        (Mutation::OtherIssuer, "id_token") => claims["iss"] = "https://evil.example/oauth2".into(),
        (Mutation::OtherNonce, "id_token") => claims["nonce"] = "another".into(),
        (Mutation::Unsigned, "id_token") => claims["auth_time"] = 1.into(),
        _ => return token.to_owned(),
    }
    let message = format!("{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()));
    if let Mutation::Unsigned = mutation {
        return format!("{message}.{}", parts[2]);
    }
    let file: Value = serde_json::from_slice(&std::fs::read(key).unwrap()).unwrap();
    let pkcs8 = STANDARD.decode(file["signing"].as_str().unwrap()).unwrap();
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).unwrap();
    let signature = pair.sign(&random, message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
