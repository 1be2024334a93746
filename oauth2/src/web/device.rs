//! `/oauth2/device`: where a person says yes to a program that has no browser.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Shared;
use super::answer::retry_after;
use super::caller::Caller;
use super::cookies::{self, Kind};
use super::form::Form;
use super::login;
use super::pages::{Page, redirect};
use crate::authorize::SignedIn;
use crate::device::UserCode;
use crate::error::OAuthError;
use crate::params::Params;

/// Asks for the code.
pub(super) async fn show(
    State(provider): State<Shared>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let code = params.get("user_code").unwrap_or("");
    match caller.who(&provider).await {
        Ok(Some(_)) => {
            let csrf = caller.csrf(&provider).unwrap_or_default();
            Page::device(caller.lang, code, &csrf, None).into_response()
        }
        Ok(None) => redirect(&login::address(&address(code))),
        Err(error) => Page::error(caller.lang, &error).into_response(),
    }
}

/// Takes the code, asks, and takes the answer.
pub(super) async fn submit(State(provider): State<Shared>, caller: Caller, Form(form): Form) -> Response {
    let answered = async {
        let form = form?;
        let typed = form.get("user_code").unwrap_or("");
        let Some(who) = caller.who(&provider).await? else {
            return Ok(redirect(&login::address(&address(typed))));
        };
        let csrf = caller.csrf(&provider).unwrap_or_default();
        let cookie = caller.jar.get(Kind::Session, provider.settings.issuer.is_secure());
        let again = |status, alarm: &str| {
            Page::device(caller.lang, typed, &csrf, Some(alarm)).status(status).into_response()
        };
        let words = caller.lang.words();
        if !caller.is_from_us(&provider) || !cookies::matches(cookie, form.get("csrf")) {
            return Ok(again(StatusCode::FORBIDDEN, words.stale));
        }
        let Some(code) = guess(&provider, &caller, &who, typed).await? else {
            return Ok(again(StatusCode::BAD_REQUEST, words.bad_code));
        };
        let allow = match form.get("decision") {
            Some(decision) => decision == "allow",
            None => return consent(&provider, &caller, &who, &code, &csrf).await,
        };
        if provider.decide(&code, &who, allow).await? {
            Ok(Page::device_done(caller.lang, allow).into_response())
        } else {
            Ok(again(StatusCode::BAD_REQUEST, words.bad_code))
        }
    };
    answered.await.unwrap_or_else(|error: OAuthError| {
        let mut response = Page::error(caller.lang, &error).into_response();
        retry_after(response.headers_mut(), &error);
        response
    })
}

/// The code, if a device waits under it. Guessing at it is slowed down like guessing at a password.
async fn guess(
    provider: &Shared,
    caller: &Caller,
    who: &SignedIn,
    typed: &str,
) -> Result<Option<UserCode>, OAuthError> {
    // no user can have this name
    let account = format!("device code by {}", who.user.id);
    let begun = provider.throttle.begin(&account, caller.peer, provider.clock.now());
    let longest = provider.settings.limits.longest_wait;
    let attempt =
        begun.map_err(|slowed| OAuthError::too_many("too many wrong codes", slowed.wait(longest)))?;
    let Ok(code) = typed.parse::<UserCode>() else { return Ok(None) };
    let waiting = provider.waiting_device(&code).await?;
    Ok(waiting.map(|_| {
        provider.throttle.right(attempt);
        code
    }))
}

async fn consent(
    provider: &Shared,
    caller: &Caller,
    who: &SignedIn,
    code: &UserCode,
    csrf: &str,
) -> Result<Response, OAuthError> {
    let Some((device, client)) = provider.waiting_device(code).await? else {
        return Err(OAuthError::invalid_request("the device does not wait any more"));
    };
    let (user, code) = (who.user.name.as_str(), code.to_string());
    Ok(Page::device_consent(caller.lang, &client, &device.scope, user, &code, csrf).into_response())
}

fn address(code: &str) -> String {
    if code.is_empty() {
        return "/oauth2/device".to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("user_code", code).finish();
    format!("/oauth2/device?{query}")
}
