//! `/oauth2/logout`: where people sign out.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header;

use super::Shared;
use super::caller::Caller;
use super::cookies::{self, Kind};
use super::form::Form;
use super::pages::{Page, redirect};
use crate::error::OAuthError;
use crate::logout::LogoutNext;
use crate::params::Params;
use crate::redirect::csp_source;

/// A client sends a browser here, or somebody comes by themselves.
pub(super) async fn show(
    State(provider): State<Shared>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Response {
    let answered = async { answer(&provider, &caller, &read(query.as_deref())?, false).await };
    answered.await.unwrap_or_else(|error: OAuthError| Page::error(caller.lang, &error).into_response())
}

/// Somebody says yes; or a client sends its request as a form, which then comes again as a query.
pub(super) async fn submit(State(provider): State<Shared>, caller: Caller, Form(form): Form) -> Response {
    let answered = async {
        let form = form?;
        let Some(csrf) = form.get("csrf") else {
            return Ok(redirect(&format!("/oauth2/logout?{}", form.query_without(&[]))));
        };
        let cookie = caller.jar.get(Kind::Session, provider.settings.issuer.is_secure());
        let confirmed = caller.is_from_us(&provider) && cookies::matches(cookie, Some(csrf));
        answer(&provider, &caller, &read(form.get("request"))?, confirmed).await
    };
    answered.await.unwrap_or_else(|error: OAuthError| Page::error(caller.lang, &error).into_response())
}

async fn answer(
    provider: &Shared,
    caller: &Caller,
    params: &Params,
    confirmed: bool,
) -> Result<Response, OAuthError> {
    let who = caller.who(provider).await?;
    let mut response = match provider.logout(params, who.as_ref(), confirmed).await? {
        LogoutNext::Refuse(error) => return Ok(Page::error(caller.lang, &error).into_response()),
        LogoutNext::Ask => {
            let (csrf, query) = (caller.csrf(provider).unwrap_or_default(), params.query_without(&[]));
            let place = params.get("post_logout_redirect_uri").and_then(csp_source);
            let page = Page::sign_out(caller.lang, &[("csrf", &csrf), ("request", &query)]);
            return Ok(page.leads_to(place).into_response());
        }
        LogoutNext::Out(Some(uri)) => redirect(&uri),
        LogoutNext::Out(None) => Page::signed_out(caller.lang).into_response(),
    };
    let gone = Kind::Session.clear(provider.settings.issuer.is_secure());
    response.headers_mut().append(header::SET_COOKIE, gone);
    Ok(response)
}

fn read(query: Option<&str>) -> Result<Params, OAuthError> {
    Params::parse(query.unwrap_or("").as_bytes())
        .map_err(|error| OAuthError::invalid_request(error.to_string()))
}
