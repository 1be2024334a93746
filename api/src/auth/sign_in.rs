//! `/auth`: signing in to the platform's pages with the authorization code flow (RFC 6749 section 4.1). The browser keeps a
//! cookie that no script can read, and never gets a token.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::Serializer;
use jiff::SignedDuration;
use mgx_oauth2::{CodeExchange, RandomSource};
use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::browser::{Cookie, is_same_origin};
use super::gate::{Gate, PAGES_SCOPE};
use crate::http::extract::Query;
use crate::http::server::wrong_host;
use crate::http::{Problem, Slug};

/// The client id of the platform's pages.
pub const PAGES: &str = "mgx-pages";

/// The redirect URI of the platform's pages, without the origin.
pub const CALLBACK: &str = "/auth/callback";

/// How long signing in may take.
const SIGN_IN_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// The longest path to return to after signing in, in bytes.
const MAX_RETURN_TO: usize = 512;

/// The query of `/auth/login`: where to go after signing in.
#[derive(Debug, Deserialize)]
struct LoginQuery {
    return_to: Option<String>,
    /// The browser was sent here because it had asked another host.
    moved: Option<String>,
}

/// The provider's authorization response (RFC 6749 section 4.1.2, RFC 9207).
#[derive(Debug, Deserialize)]
struct AuthorizationResponse {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// The state of a sign-in that was begun, kept in a cookie until the browser returns.
#[derive(Debug, PartialEq, Eq)]
struct SignInState {
    state: String,
    verifier: String,
    return_to: String,
}

pub(crate) fn routes() -> Router<Gate> {
    Router::new()
        .route("/auth/login", get(login))
        .route(CALLBACK, get(callback))
        .route("/auth/logout", post(logout))
}

/// Sends the browser to the provider.
async fn login(
    State(gate): State<Gate>,
    headers: HeaderMap,
    Query(query): Query<LoginQuery>,
) -> Result<Response, Problem> {
    let place = query.return_to.filter(|place| is_local_path(place)).unwrap_or_else(|| "/".to_owned());
    let issuer = &gate.provider().settings().issuer;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let ours = issuer.origin().split_once("://").map(|(_, host)| host);
    if host != ours {
        if query.moved.is_some() {
            return Ok(wrong_host::answer(&headers, host.unwrap_or("?"), issuer.origin()));
        }
        // the cookie is set for the origin of the issuer: under another host name it would not come back
        let query = Serializer::new(String::new())
            .append_pair("return_to", &place)
            .append_pair("moved", "1")
            .finish();
        return Ok(redirect(&format!("{}/auth/login?{query}", issuer.origin())));
    }
    let random = RandomSource::system();
    let begun = SignInState { state: random.text(), verifier: random.text(), return_to: place };
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, begun.verifier.as_bytes()));
    let query = Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", PAGES)
        .append_pair("redirect_uri", &format!("{}{CALLBACK}", issuer.origin()))
        .append_pair("scope", PAGES_SCOPE)
        .append_pair("state", &begun.state)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .finish();
    let mut response = redirect(&format!("{}?{query}", issuer.endpoint("authorize")));
    let cookie = Cookie::SigningIn.set(&begun.text(), SIGN_IN_TIMEOUT, issuer.is_secure());
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Exchanges the code, and signs the browser in.
async fn callback(
    State(gate): State<Gate>,
    Query(answer): Query<AuthorizationResponse>,
    request: Request,
) -> Result<Response, Problem> {
    let provider = gate.provider();
    let issuer = &provider.settings().issuer;
    let secure = issuer.is_secure();
    let kept = Cookie::SigningIn.get(request.headers(), secure).and_then(SignInState::read);
    let (Some(begun), Some(state)) = (kept, answer.state) else {
        return Err(failed("it was begun in another browser, or too long ago"));
    };
    if begun.state != state || answer.iss.as_deref() != Some(issuer.as_str()) {
        return Err(failed("the response is for another sign-in"));
    }
    let Some(code) = answer.code.filter(|_| answer.error.is_none()) else {
        return Err(failed("the provider refused"));
    };
    let returned = CodeExchange {
        client: PAGES.parse().expect("our own name is a client id"),
        code: code.into(),
        redirect_uri: format!("{}{CALLBACK}", issuer.origin()),
        verifier: begun.verifier.into(),
    };
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
    let cookie = provider.open_pages_session(returned, agent, peer(&request)).await.map_err(|error| {
        tracing::info!(%error, "an authorization code was refused");
        failed("the code is no longer valid")
    })?;
    let mut response = redirect(&begun.return_to);
    let session = Cookie::Session.set(cookie.expose_secret(), provider.settings().session_lifetime, secure);
    response.headers_mut().append(header::SET_COOKIE, session);
    response.headers_mut().append(header::SET_COOKIE, Cookie::SigningIn.clear(secure));
    Ok(response)
}

/// Signs the browser out here and at the provider, and revokes what was granted in its session.
async fn logout(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    let provider = gate.provider();
    let issuer = &provider.settings().issuer;
    if !is_same_origin(request.method(), request.headers(), issuer.origin()) {
        return Err(Problem::cross_site());
    }
    if let Some(cookie) = Cookie::Session.get(request.headers(), issuer.is_secure()) {
        provider.close_pages_session(cookie).await?;
    }
    let navigates = request.headers().get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    let mut response = if navigates { redirect("/") } else { StatusCode::NO_CONTENT.into_response() };
    response.headers_mut().append(header::SET_COOKIE, Cookie::Session.clear(issuer.is_secure()));
    Ok(response)
}

/// Redirects the browser to `place`, with GET.
fn redirect(place: &str) -> Response {
    let place = HeaderValue::from_str(place).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

fn failed(why: &str) -> Problem {
    Problem::new(Slug::Unauthorized, format!("signing in has failed: {why}; begin again at /auth/login"))
}

fn peer(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

/// Whether `place` is a path on this origin that no browser can read as another origin (no open redirect).
fn is_local_path(place: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    place.len() <= MAX_RETURN_TO
        && place.starts_with('/')
        && !place.starts_with("//")
        && place.bytes().all(plain)
        && !place.starts_with("/auth/")
}

impl SignInState {
    fn text(&self) -> String {
        format!("{}.{}.{}", self.state, self.verifier, URL_SAFE_NO_PAD.encode(&self.return_to))
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (state, verifier, place) = (parts.next()?, parts.next()?, parts.next()?);
        let return_to = String::from_utf8(URL_SAFE_NO_PAD.decode(place).ok()?).ok()?;
        let whole = !state.is_empty() && !verifier.is_empty() && is_local_path(&return_to);
        whole.then(|| Self { state: state.to_owned(), verifier: verifier.to_owned(), return_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_path_is_on_this_site() {
        for ours in ["/", "/sessions/demo?tab=files#top"] {
            assert!(is_local_path(ours), "{ours}");
        }
        for other in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a b", "/auth/login", "/\n"]
        {
            assert!(!is_local_path(other), "{other:?}");
        }
    }

    #[test]
    fn the_state_of_a_sign_in_is_read_whole_or_not_at_all() {
        let begun = || SignInState { state: "s".into(), verifier: "v".into(), return_to: "/x".into() };
        assert_eq!(SignInState::read(&begun().text()), Some(begun()));
        let evil = SignInState { return_to: "//evil.example".into(), ..begun() }.text();
        for wrong in ["", ".", "s.v", "..L3g", "s.v.???", &evil] {
            assert_eq!(SignInState::read(wrong), None, "{wrong}");
        }
    }
}
