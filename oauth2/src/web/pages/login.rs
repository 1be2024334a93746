//! `/oauth2/login`: the page where users sign in.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};

use super::{Page, SignIn, redirect};
use crate::base::error::OAuthError;
use crate::base::params::Params;
use crate::flows::authorization_request::ResponseTarget;
use crate::provider::Provider;
use crate::sessions::sign_in::SignInError;
use crate::web::answer::retry_after;
use crate::web::caller::Caller;
use crate::web::cookies::{self, Cookie};
use crate::web::form::Form;

/// The time in which a sign-in form has to be sent.
const LOGIN_COOKIE_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// The address of the sign-in page that continues to `back`.
pub(super) fn address(back: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("continue", back).finish();
    format!("/oauth2/login?{query}")
}

/// Shows the form.
pub(crate) async fn show(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let go_on = params.get("continue").filter(|place| is_ours(place)).unwrap_or("").to_owned();
    let requesting = requesting(&provider, &go_on).await;
    let hint = requesting.hint.clone();
    SignInForm { go_on: &go_on, username: &hint, alarm: None, status: StatusCode::OK, requesting }
        .respond(&provider, &caller)
}

/// Handles the form.
pub(crate) async fn submit(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    Form(form): Form,
) -> Response {
    let form = match form {
        Ok(form) => form,
        Err(error) => return Page::error(caller.lang, &error).into_response(),
    };
    let texts = caller.lang.texts();
    let go_on = form.get("continue").filter(|place| is_ours(place)).unwrap_or("").to_owned();
    let username = form.get("username").unwrap_or("");
    let requesting = requesting(&provider, &go_on).await;
    let again = |status, alarm: String| SignInForm {
        go_on: &go_on,
        username,
        alarm: Some(alarm),
        status,
        requesting,
    };
    let secure = provider.settings.issuer.is_secure();
    if !caller.is_genuine(&provider, Cookie::Login, form.get("csrf")) {
        return again(StatusCode::FORBIDDEN, texts.stale.to_owned()).respond(&provider, &caller);
    }
    let password = SecretString::from(form.get("password").unwrap_or(""));
    let user = match provider.check_password(username, &password, caller.peer).await {
        Ok(user) => user,
        Err(SignInError::Wrong) => {
            return again(StatusCode::UNAUTHORIZED, texts.wrong.to_owned()).respond(&provider, &caller);
        }
        Err(SignInError::Throttled(wait)) => {
            let error = OAuthError { retry_after: Some(wait), ..OAuthError::unavailable("") };
            let alarm = format!("{} {}", texts.throttled, wait.as_secs() + 1);
            let mut response = again(StatusCode::TOO_MANY_REQUESTS, alarm).respond(&provider, &caller);
            retry_after(response.headers_mut(), &error);
            return response;
        }
        Err(SignInError::Unavailable(error)) => return busy(&provider, &caller, &error, again),
    };
    let signed_in = async {
        let before = caller.signed_in(&provider).await?;
        Ok(provider.sign_in(&user, before.as_ref(), caller.agent(), caller.peer).await?)
    };
    let cookie = match signed_in.await {
        Ok(cookie) => cookie,
        Err(error) => return busy(&provider, &caller, &error, again),
    };
    let mut response = redirect(if go_on.is_empty() { "/" } else { &go_on });
    let session = Cookie::Session.set(cookie.expose_secret(), provider.settings.session_lifetime, secure);
    response.headers_mut().append(header::SET_COOKIE, session);
    response.headers_mut().append(header::SET_COOKIE, Cookie::Login.clear(secure));
    response
}

fn busy<'a>(
    provider: &Provider,
    caller: &Caller,
    error: &OAuthError,
    again: impl FnOnce(StatusCode, String) -> SignInForm<'a>,
) -> Response {
    let shown = again(error.code.status(), caller.lang.texts().unavailable.to_owned());
    let mut response = shown.respond(provider, caller);
    retry_after(response.headers_mut(), error);
    response
}

/// The sign-in page.
struct SignInForm<'a> {
    go_on: &'a str,
    username: &'a str,
    alarm: Option<String>,
    status: StatusCode,
    requesting: RequestingClient,
}

impl SignInForm<'_> {
    fn respond(self, provider: &Provider, caller: &Caller) -> Response {
        let secure = provider.settings.issuer.is_secure();
        let known = caller.jar.get(Cookie::Login, secure).map(str::to_owned);
        let cookie = known.unwrap_or_else(|| provider.random.text());
        let csrf = cookies::csrf(&cookie);
        let Self { go_on, username, alarm, status, requesting } = self;
        let shown = SignIn { csrf: &csrf, go_on, username, client: requesting.client.as_deref(), alarm };
        let page = Page::sign_in(caller.lang, &shown).status(status).leads_away(requesting.leads_away);
        let mut response = page.into_response();
        response
            .headers_mut()
            .append(header::SET_COOKIE, Cookie::Login.set(&cookie, LOGIN_COOKIE_LIFETIME, secure));
        if status == StatusCode::UNAUTHORIZED {
            let form = http::HeaderValue::from_static(r#"Form realm="mgx""#);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, form);
        }
        response
    }
}

/// The client whose request needs a sign-in.
#[derive(Debug, Default)]
struct RequestingClient {
    client: Option<String>,
    leads_away: bool,
    hint: String,
}

/// The client of the authorization request that the browser continues to.
async fn requesting(provider: &Provider, go_on: &str) -> RequestingClient {
    let Some(query) = go_on.strip_prefix("/oauth2/authorize?") else { return RequestingClient::default() };
    let Ok(params) = Params::parse(query.as_bytes()) else { return RequestingClient::default() };
    let Some(id) = params.get("client_id").and_then(|id| id.parse().ok()) else {
        return RequestingClient::default();
    };
    let Ok(Some(client)) = provider.storage.client(&id).await else { return RequestingClient::default() };
    let leads_away = ResponseTarget::of(&params, &client).is_ok();
    let hint = params.get("login_hint").unwrap_or("").chars().take(64).collect();
    RequestingClient { client: Some(client.name), leads_away, hint }
}

/// Whether `place` is a page that a sign-in may continue to.
fn is_ours(place: &str) -> bool {
    let plain = place.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let known = place.starts_with("/oauth2/authorize?")
        || place == super::PASSWORD_PAGE
        || place == "/oauth2/device"
        || place.starts_with("/oauth2/device?");
    plain && known
}
