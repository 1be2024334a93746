//! A provider in memory with two users, some clients, a clock that the test sets, and a browser.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, Request, StatusCode, header};
use jiff::Timestamp;
use mgx_oauth2::{
    Accounts as _, Argon2Cost, AuditEvent, Clock, GrantType, MemoryStorage, NewClient, NewUser, Peer,
    Provider, RandomSource, Settings, SigningAlgorithm, SigningKeys, User, router,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) const ISSUER: &str = "https://mgx.example/oauth2";
pub(crate) const REDIRECT: &str = "https://app.example/cb";
pub(crate) const LOOPBACK: &str = "http://127.0.0.1/cb";
pub(crate) const ANN: &str = "seven grey herons wade";
pub(crate) const BOB: &str = "one quick owl at dusk";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A provider with its storage, router and clock.
pub(crate) struct Fixture {
    pub(crate) provider: Arc<Provider>,
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) ann: User,
    /// The secrets of the confidential clients.
    pub(crate) secrets: BTreeMap<&'static str, String>,
    pub(crate) dir: tempfile::TempDir,
    router: Router,
    seconds: Arc<AtomicI64>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A browser with its cookies and its address.
pub(crate) struct Browser<'a> {
    fixture: &'a Fixture,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) peer: IpAddr,
}

pub(crate) type Pairs<'a> = &'a [(&'a str, &'a str)];

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let seconds = Arc::new(AtomicI64::new(1_800_000_000));
        let shown = Arc::clone(&seconds);
        let clock = Clock::new(move || Timestamp::from_second(shown.load(Ordering::Relaxed)).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let keys = SigningKeys::for_tests(&dir.path().join("signing.key"), clock.now()).unwrap();
        let mut settings = Settings::new(ISSUER.parse().unwrap());
        settings.password_cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 };
        change(&mut settings);
        let storage = Arc::new(MemoryStorage::default());
        let provider =
            Provider::for_tests(settings, Arc::clone(&storage) as _, keys, clock, RandomSource::system())
                .await
                .unwrap();
        let provider = Arc::new(provider);
        let ann = add_user(&provider, "ann", ANN).await;
        add_user(&provider, "bob", BOB).await;
        let secrets = add_clients(&provider).await;
        let router = router(Arc::clone(&provider));
        Self { provider, storage, ann, secrets, dir, router, seconds }
    }

    /// Advances the clock.
    pub(crate) fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> i64 {
        self.seconds.load(Ordering::Relaxed)
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser { fixture: self, cookies: BTreeMap::new(), peer: [10, 0, 0, 1].into() }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str, headers: Pairs<'_>) -> Answer {
        self.send(request("GET", path, headers, String::new())).await
    }

    /// Sends a form without a browser.
    pub(crate) async fn post(&self, path: &str, headers: Pairs<'_>, pairs: Pairs<'_>) -> Answer {
        let form = [headers, &[("content-type", "application/x-www-form-urlencoded")]].concat();
        self.send(request("POST", path, &form, encode(pairs))).await
    }

    /// Sends a form as a client, with its secret if it has one.
    pub(crate) async fn post_as(&self, client: &str, path: &str, pairs: Pairs<'_>) -> Answer {
        match self.secrets.get(client) {
            Some(secret) => {
                let basic = format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")));
                self.post(path, &[("authorization", &basic)], pairs).await
            }
            None => self.post(path, &[], &[pairs, &[("client_id", client)]].concat()).await,
        }
    }

    /// Redeems a code.
    pub(crate) async fn redeem(&self, client: &str, redirect: &str, code: &str) -> Answer {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", VERIFIER),
        ];
        self.post_as(client, "/oauth2/token", &pairs).await
    }

    /// The tokens of ann for client `web`.
    pub(crate) async fn tokens(&self) -> Value {
        let mut browser = self.browser();
        browser.sign_in("ann", ANN).await;
        let code = browser.code("web", REDIRECT, &[]).await;
        let answer = self.redeem("web", REDIRECT, &code).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    pub(crate) async fn refresh(&self, client: &str, token: &str) -> Answer {
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post_as(client, "/oauth2/token", &pairs).await
    }

    /// The events in the audit log, oldest first.
    pub(crate) async fn audit(&self) -> Vec<AuditEvent> {
        let mut log = self.storage.audit_log(None, 10_000).await.unwrap();
        log.reverse();
        log.into_iter().map(|(_, entry)| entry.event).collect()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    /// Status and `error`, which is in the body, in the redirect or on the page.
    pub(crate) fn error(&self) -> (u16, String) {
        let status = self.status.as_u16();
        if !self.location().is_empty() {
            return (status, parameter(self.location(), "error").unwrap_or_default());
        }
        if self.header("content-type") == "application/json" {
            return (status, self.json()["error"].as_str().unwrap_or("").to_owned());
        }
        let page = self.body.split_once("<code>").and_then(|(_, rest)| rest.split_once(':'));
        (status, page.map(|(code, _)| code.to_owned()).unwrap_or_default())
    }

    /// The value of a hidden field on the page.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let before = format!(r#"name="{name}" value=""#);
        let (_, rest) = self.body.split_once(&before).unwrap_or_else(|| panic!("no {name}: {}", self.body));
        rest.split('"').next().unwrap().replace("&amp;", "&")
    }
}

impl Browser<'_> {
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(request("GET", path, &[], String::new())).await
    }

    /// Sends a form as a page of the provider does.
    pub(crate) async fn post(&mut self, path: &str, pairs: Pairs<'_>) -> Answer {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", "https://mgx.example"),
            ("sec-fetch-site", "same-origin"),
        ];
        self.send(request("POST", path, &headers, encode(pairs))).await
    }

    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request.headers_mut().insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        }
        request.extensions_mut().insert(Peer(self.peer));
        let answer = self.fixture.send(request).await;
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let (pair, flags) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if flags.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Opens the sign-in page and sends its form.
    pub(crate) async fn try_sign_in(&mut self, name: &str, password: &str) -> Answer {
        let page = self.get("/oauth2/login").await;
        let pairs = [("csrf", &*page.hidden("csrf")), ("username", name), ("password", password)];
        self.post("/oauth2/login", &pairs).await
    }

    pub(crate) async fn sign_in(&mut self, name: &str, password: &str) {
        let answer = self.try_sign_in(name, password).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (303, "/"), "{}", answer.body);
    }

    /// Sends a valid authorization request with `changes`; an empty value removes a parameter.
    pub(crate) async fn authorize(&mut self, client: &str, redirect: &str, changes: Pairs<'_>) -> Answer {
        self.get(&format!("/oauth2/authorize?{}", query(client, redirect, changes))).await
    }

    /// A code, after consent if the page asks for it.
    pub(crate) async fn code(&mut self, client: &str, redirect: &str, changes: Pairs<'_>) -> String {
        let mut answer = self.authorize(client, redirect, changes).await;
        if answer.status == 200 {
            let (csrf, request) = (answer.hidden("csrf"), answer.hidden("request"));
            let pairs = [("csrf", &*csrf), ("request", &*request), ("decision", "allow")];
            answer = self.post("/oauth2/authorize", &pairs).await;
        }
        parameter(answer.location(), "code")
            .unwrap_or_else(|| panic!("{} {}", answer.location(), answer.body))
    }
}

/// The query of an authorization request.
pub(crate) fn query(client: &str, redirect: &str, changes: Pairs<'_>) -> String {
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", redirect),
        ("state", "a state & more"),
        ("scope", "openid profile"),
        ("nonce", "n-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    pairs.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    pairs.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    encode(&pairs)
}

pub(crate) fn request(method: &str, path: &str, headers: Pairs<'_>, body: String) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    request
}

pub(crate) fn encode(pairs: Pairs<'_>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A parameter of the query of a URI.
pub(crate) fn parameter(uri: &str, name: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// The claims of a token, unverified.
pub(crate) fn claims(token: &Value) -> Value {
    let body = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

async fn add_user(provider: &Provider, name: &str, password: &str) -> User {
    let new = NewUser {
        name: name.parse().unwrap(),
        display_name: format!("{name} <b>"),
        email: Some(format!("{name}@example.org")),
        email_verified: false,
        groups: BTreeSet::from(["builders".to_owned()]),
        password: Some(password.into()),
    };
    provider.administration(None).add_user(new).await.unwrap().0
}

async fn add_clients(provider: &Provider) -> BTreeMap<&'static str, String> {
    use GrantType::{AuthorizationCode, ClientCredentials, DeviceCode, Password, RefreshToken};
    let mut secrets = BTreeMap::new();
    let every = "openid profile email groups api";
    for (id, confidential, first_party, grants, redirect, audience) in [
        ("web", true, false, &[AuthorizationCode, RefreshToken][..], REDIRECT, "mgx"),
        ("other", true, false, &[AuthorizationCode, RefreshToken], "https://other.example/cb", "other"),
        ("tool", false, false, &[AuthorizationCode, RefreshToken, DeviceCode], LOOPBACK, "mgx"),
        ("cli", false, true, &[AuthorizationCode, DeviceCode, RefreshToken], LOOPBACK, "mgx"),
        ("service", true, false, &[ClientCredentials], "", "mgx"),
        ("once", true, true, &[AuthorizationCode], REDIRECT, "mgx"),
        ("legacy", false, true, &[Password], "", "mgx"),
    ] {
        let new = NewClient {
            id: id.parse().ok(),
            name: format!("The {id} & \"Co\""),
            confidential,
            redirect_uris: Some(redirect.to_owned()).filter(|uri| !uri.is_empty()).into_iter().collect(),
            post_logout_redirect_uris: vec!["https://app.example/bye".to_owned()],
            grants: grants.iter().copied().collect(),
            scope: every.parse().unwrap(),
            audience: Some(audience.to_owned()),
            id_token_alg: if id == "tool" { SigningAlgorithm::Es256 } else { SigningAlgorithm::default() },
            first_party,
        };
        let (_, secret) = provider.administration(None).add_client(new).await.unwrap();
        secrets.extend(secret.map(|secret| (id, secret.expose_secret().to_owned())));
    }
    secrets
}

impl Fixture {
    /// The whole content of the storage as text.
    pub(crate) fn storage_text(&self) -> String {
        format!("{:?}", self.storage)
    }

    /// A verifier of a second provider on the same storage and key, as after a restart.
    pub(crate) async fn restarted(&self) -> mgx_oauth2::Verifier {
        let shown = Arc::clone(&self.seconds);
        let clock = Clock::new(move || Timestamp::from_second(shown.load(Ordering::Relaxed)).unwrap());
        let keys = SigningKeys::for_tests(&self.dir.path().join("signing.key"), clock.now()).unwrap();
        let storage = Arc::clone(&self.storage) as _;
        let settings = self.provider.settings().clone();
        let provider =
            Provider::for_tests(settings, storage, keys, clock, RandomSource::system()).await.unwrap();
        provider.verifier("mgx")
    }
}
