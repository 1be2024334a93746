//! `/oauth2/authorize`: authorization requests, and the user's decision.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;

use super::{Page, redirect};
use crate::accounts::browser_session::SignedIn;
use crate::base::error::OAuthError;
use crate::base::params::Params;
use crate::clients::redirect_uri::place_of;
use crate::flows::authorization::AuthorizationOutcome;
use crate::flows::authorization_request::{AuthorizationRequest, SIGNED_IN_SINCE};
use crate::provider::Provider;
use crate::web::caller::Caller;
use crate::web::cookies::Cookie;
use crate::web::form::Form;

/// An authorization request from a client.
pub(crate) async fn show(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Response {
    let answered = async {
        let params = Params::of_query(query.as_deref())?;
        let signed_in = caller.signed_in(&provider).await?;
        let next = provider.authorize(&params, signed_in.as_ref()).await?;
        Ok(answer(&provider, &caller, &params, signed_in.as_ref(), next))
    };
    answered.await.unwrap_or_else(|error: OAuthError| Page::error(caller.lang, &error).into_response())
}

/// The user's decision; or a client's request as a form (OpenID Connect Core section 3.1.2.1), which is redirected to
/// itself as a query, because browsers send no cookie with a form from another site.
pub(crate) async fn decide(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    Form(form): Form,
) -> Response {
    let answered = async {
        let form = form?;
        let Some(decision) = form.get("decision") else {
            return Ok(redirect(&format!("/oauth2/authorize?{}", form.query_without(&[]))));
        };
        let params = Params::of_query(form.get("request"))?;
        let again = || redirect(&format!("/oauth2/authorize?{}", params.query_without(&[])));
        let Some(signed_in) = caller.signed_in(&provider).await? else { return Ok(again()) };
        if !caller.is_genuine(&provider, Cookie::Session, form.get("csrf")) {
            let error = OAuthError::invalid_request(caller.lang.texts().stale);
            return Ok(Page::error(caller.lang, &error).status(StatusCode::FORBIDDEN).into_response());
        }
        let next = provider.decide_authorization(&params, &signed_in, decision == "allow").await?;
        Ok(answer(&provider, &caller, &params, Some(&signed_in), next))
    };
    answered.await.unwrap_or_else(|error: OAuthError| Page::error(caller.lang, &error).into_response())
}

fn answer(
    provider: &Provider,
    caller: &Caller,
    params: &Params,
    signed_in: Option<&SignedIn>,
    next: AuthorizationOutcome,
) -> Response {
    match next {
        AuthorizationOutcome::Redirect(uri) => redirect(&uri),
        AuthorizationOutcome::Refuse(error) => Page::error(caller.lang, &error).into_response(),
        AuthorizationOutcome::SignIn(request, _) => {
            let query = after_sign_in(params, &request, provider.clock.now()).query_without(&[]);
            redirect(&super::login::address(&format!("/oauth2/authorize?{query}")))
        }
        AuthorizationOutcome::Consent(request, client) => {
            let query = params.query_without(&[]);
            let csrf = caller.csrf(provider).unwrap_or_default();
            let hidden = [("csrf", &*csrf), ("request", &*query)];
            let user = signed_in.map_or("", |signed_in| signed_in.user.name.as_str());
            let place = place_of(&request.target.redirect_uri).unwrap_or_default();
            Page::consent(caller.lang, &client, &request.scope, user, &place, &hidden)
                .leads_away(true)
                .into_response()
        }
    }
}

/// The parameters of the request that a sign-in continues to. What demanded the sign-in is replaced by the time after
/// which it has to happen; otherwise the request would demand another one, and `max_age=0` for ever.
fn after_sign_in(params: &Params, request: &AuthorizationRequest, now: Timestamp) -> Params {
    let prompt = params.get("prompt").unwrap_or("").split(' ');
    let rest: Vec<&str> = prompt.filter(|word| !matches!(*word, "login" | "select_account")).collect();
    let rest = Some(rest.join(" ")).filter(|rest| !rest.is_empty());
    let again = request.prompt.demands_sign_in();
    let known = request.signed_in_since.filter(|since| !again && *since <= now);
    let since = (again || request.max_age.is_some()).then(|| known.unwrap_or(now).as_second().to_string());
    params.with("prompt", rest.as_deref()).with(SIGNED_IN_SINCE, since.as_deref())
}
