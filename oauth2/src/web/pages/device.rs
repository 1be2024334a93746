//! `/oauth2/device`: the page where users decide on devices (RFC 8628 section 3.3).

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::login;
use super::{Page, redirect};
use crate::accounts::browser_session::SignedIn;
use crate::base::error::OAuthError;
use crate::base::params::Params;
use crate::grants::user_code::UserCode;
use crate::provider::Provider;
use crate::web::answer::retry_after;
use crate::web::caller::Caller;
use crate::web::cookies::Cookie;
use crate::web::form::Form;

/// Shows the form for the user code.
pub(crate) async fn show(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let code = params.get("user_code").unwrap_or("");
    match caller.signed_in(&provider).await {
        Ok(Some(_)) => {
            let csrf = caller.csrf(&provider).unwrap_or_default();
            Page::device(caller.lang, code, &csrf, None).into_response()
        }
        Ok(None) => redirect(&login::address(&address(code))),
        Err(error) => Page::error(caller.lang, &error).into_response(),
    }
}

/// Handles the user code, and then the user's decision.
pub(crate) async fn submit(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    Form(form): Form,
) -> Response {
    let answered = async {
        let form = form?;
        let typed = form.get("user_code").unwrap_or("");
        let Some(signed_in) = caller.signed_in(&provider).await? else {
            return Ok(redirect(&login::address(&address(typed))));
        };
        let csrf = caller.csrf(&provider).unwrap_or_default();
        let again = |status, alarm: &str| {
            Page::device(caller.lang, typed, &csrf, Some(alarm)).status(status).into_response()
        };
        let texts = caller.lang.texts();
        if !caller.is_genuine(&provider, Cookie::Session, form.get("csrf")) {
            return Ok(again(StatusCode::FORBIDDEN, texts.stale));
        }
        let Some(code) = guess(&provider, &caller, &signed_in, typed).await? else {
            return Ok(again(StatusCode::BAD_REQUEST, texts.bad_code));
        };
        let allow = match form.get("decision") {
            Some(decision) => decision == "allow",
            None => return consent(&provider, &caller, &signed_in, &code, &csrf).await,
        };
        if provider.decide(&code, &signed_in, allow).await? {
            Ok(Page::device_done(caller.lang, allow).into_response())
        } else {
            Ok(again(StatusCode::BAD_REQUEST, texts.bad_code))
        }
    };
    answered.await.unwrap_or_else(|error: OAuthError| {
        let mut response = Page::error(caller.lang, &error).into_response();
        retry_after(response.headers_mut(), &error);
        response
    })
}

/// The code, if a device waits with it. Guesses are throttled like guesses of a password.
async fn guess(
    provider: &Provider,
    caller: &Caller,
    signed_in: &SignedIn,
    typed: &str,
) -> Result<Option<UserCode>, OAuthError> {
    // a user name cannot contain spaces
    let account = format!("device code by {}", signed_in.user.id);
    let begun = provider.throttle.begin(&account, caller.peer, provider.clock.now());
    let longest = provider.settings.throttle.max_delay;
    let attempt =
        begun.map_err(|throttled| OAuthError::too_many("too many wrong codes", throttled.wait(longest)))?;
    let Ok(code) = typed.parse::<UserCode>() else { return Ok(None) };
    let waiting = provider.waiting_device(&code).await?;
    Ok(waiting.map(|_| {
        provider.throttle.succeeded(attempt);
        code
    }))
}

async fn consent(
    provider: &Provider,
    caller: &Caller,
    signed_in: &SignedIn,
    code: &UserCode,
    csrf: &str,
) -> Result<Response, OAuthError> {
    let Some((device, client)) = provider.waiting_device(code).await? else {
        return Err(OAuthError::invalid_request("the device no longer waits"));
    };
    let (user, code) = (signed_in.user.name.as_str(), code.to_string());
    Ok(Page::device_consent(caller.lang, &client, &device.scope, user, &code, csrf).into_response())
}

fn address(code: &str) -> String {
    if code.is_empty() {
        return "/oauth2/device".to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("user_code", code).finish();
    format!("/oauth2/device?{query}")
}
