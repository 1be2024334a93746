//! `/oauth2/authorize`: authorization requests, and the user's decision.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::{Page, redirect};
use crate::accounts::browser_session::SignedIn;
use crate::base::error::OAuthError;
use crate::base::params::Params;
use crate::clients::redirect_uri::place_of;
use crate::flows::authorization::AuthorizationOutcome;
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
        AuthorizationOutcome::SignIn(..) => {
            // removed, because the request would otherwise demand a sign-in again after the sign-in
            let prompt = params.get("prompt").unwrap_or("").split(' ');
            let rest: Vec<&str> =
                prompt.filter(|word| !matches!(*word, "login" | "select_account")).collect();
            let rest = Some(rest.join(" ")).filter(|rest| !rest.is_empty());
            let back = format!("/oauth2/authorize?{}", params.query_with("prompt", rest.as_deref()));
            redirect(&super::login::address(&back))
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
