//! `/oauth2/logout`: the page where users sign out.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header;

use super::{Page, redirect};
use crate::base::error::OAuthError;
use crate::base::params::Params;
use crate::provider::Provider;
use crate::sessions::logout::LogoutOutcome;
use crate::web::caller::Caller;
use crate::web::cookies::Cookie;
use crate::web::form::Form;

/// A logout request from a client, or from the user.
pub(crate) async fn show(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Response {
    let answered = async { answer(&provider, &caller, &Params::of_query(query.as_deref())?, false).await };
    answered.await.unwrap_or_else(|error: OAuthError| Page::error(caller.lang, &error).into_response())
}

/// The user's confirmation; or a client's request as a form, which is redirected to itself as a query.
pub(crate) async fn submit(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    Form(form): Form,
) -> Response {
    let answered = async {
        let form = form?;
        let Some(csrf) = form.get("csrf") else {
            return Ok(redirect(&format!("/oauth2/logout?{}", form.query_without(&[]))));
        };
        let confirmed = caller.is_genuine(&provider, Cookie::Session, Some(csrf));
        answer(&provider, &caller, &Params::of_query(form.get("request"))?, confirmed).await
    };
    answered.await.unwrap_or_else(|error: OAuthError| Page::error(caller.lang, &error).into_response())
}

async fn answer(
    provider: &Provider,
    caller: &Caller,
    params: &Params,
    confirmed: bool,
) -> Result<Response, OAuthError> {
    let signed_in = caller.signed_in(provider).await?;
    let mut response = match provider.logout(params, signed_in.as_ref(), confirmed).await? {
        LogoutOutcome::Refuse(error) => return Ok(Page::error(caller.lang, &error).into_response()),
        LogoutOutcome::Ask => {
            let (csrf, query) = (caller.csrf(provider).unwrap_or_default(), params.query_without(&[]));
            let page = Page::sign_out(caller.lang, &[("csrf", &csrf), ("request", &query)]);
            let leads_away = params.get("post_logout_redirect_uri").is_some();
            return Ok(page.leads_away(leads_away).into_response());
        }
        LogoutOutcome::Out(Some(uri)) => redirect(&uri),
        LogoutOutcome::Out(None) => Page::signed_out(caller.lang).into_response(),
    };
    let gone = Cookie::Session.clear(provider.settings.issuer.is_secure());
    response.headers_mut().append(header::SET_COOKIE, gone);
    Ok(response)
}
