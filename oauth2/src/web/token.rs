//! The endpoints for clients: token, introspection, revocation, device authorization, userinfo.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::answer;
use super::caller::Caller;
use super::form::{Form, TokenForm};
use super::presented_token::{PresentedToken, proof};
use crate::base::error::{ErrorCode, OAuthError};
use crate::base::params::Params;
use crate::clients::client::Client;
use crate::clients::grant_type::GrantType;
use crate::flows::client_authentication::Credentials;
use crate::flows::issue::TokenResponse;
use crate::flows::token_request::TokenRequest;
use crate::provider::Provider;
use crate::tokens::dpop::DpopProof;

/// `POST /oauth2/token` (RFC 6749 section 3.2).
pub(super) async fn token(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    TokenForm(form): TokenForm,
) -> Response {
    let answered = async {
        let params = form?;
        let request = TokenRequest::read(&params)?;
        let legacy = request.grant() == GrantType::Password && params.get("grant_type").is_none();
        let client = if legacy {
            legacy_client(&provider).await?
        } else {
            let given = Credentials::read(&caller.headers, &params)?;
            provider.authenticate(&given, caller.peer).await?
        };
        let uri = provider.settings.issuer.endpoint("token");
        let proof = proof(&caller.headers).map_err(|()| bad_proof(ErrorCode::InvalidDpopProof))?;
        let proof = proof.map(|text| DpopProof { text, method: "POST", uri: &uri });
        let response = provider.issue_tokens(&client, request, caller.peer, proof).await?;
        // the spelling that legacy clients expect
        Ok(if legacy { TokenResponse { token_type: "bearer", ..response } } else { response })
    };
    respond(answered.await)
}

/// `POST /oauth2/introspect` (RFC 7662).
pub(super) async fn introspect(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    Form(form): Form,
) -> Response {
    let answered = async {
        let params = form?;
        let given = Credentials::read(&caller.headers, &params)?;
        let client = provider.authenticate_confidential(&given, caller.peer).await?;
        provider.introspect(token_in(&params)?, &client).await
    };
    respond(answered.await)
}

/// `POST /oauth2/revoke` (RFC 7009).
pub(super) async fn revoke(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    Form(form): Form,
) -> Response {
    let answered = async {
        let (params, client) = authenticate(&provider, &caller, form).await?;
        provider.revoke_token(token_in(&params)?, &client).await
    };
    match answered.await {
        Ok(()) => answer::json(StatusCode::OK, &serde_json::json!({})),
        Err(error) => error.into_response(),
    }
}

/// `POST /oauth2/device_authorization` (RFC 8628 section 3.1).
pub(super) async fn device_authorization(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    Form(form): Form,
) -> Response {
    let answered = async {
        let (params, client) = authenticate(&provider, &caller, form).await?;
        provider.authorize_device(&client, params.get("scope"), caller.peer).await
    };
    respond(answered.await)
}

/// `GET` or `POST /oauth2/userinfo` (OpenID Connect Core section 5.3).
pub(super) async fn userinfo(
    State(provider): State<Arc<Provider>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Some(shown) = PresentedToken::of(&headers) else {
        // no credentials, so no error code (RFC 6750 section 3.1)
        let mut response = answer::json(StatusCode::UNAUTHORIZED, &serde_json::json!({}));
        let challenge = HeaderValue::from_static(r#"Bearer realm="mgx", DPoP algs="ES256""#);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        return response;
    };
    let uri = provider.settings.issuer.endpoint("userinfo");
    let answered = async {
        let (token, proof) = match shown {
            PresentedToken::Bearer(token) => (token, None),
            PresentedToken::Dpop { token, proof: Some(text) } => {
                (token, Some(DpopProof { text, method: method.as_str(), uri: &uri }))
            }
            PresentedToken::Dpop { proof: None, .. } => {
                return Err(bad_proof(ErrorCode::InvalidDpopProofAtResource));
            }
        };
        provider.userinfo(token, proof).await
    };
    respond(answered.await)
}

/// The parameters of a form, and the client that has sent it.
async fn authenticate(
    provider: &Provider,
    caller: &Caller,
    form: Result<Params, OAuthError>,
) -> Result<(Params, Client), OAuthError> {
    let params = form?;
    let given = Credentials::read(&caller.headers, &params)?;
    let client = provider.authenticate(&given, caller.peer).await?;
    Ok((params, client))
}

fn bad_proof(code: ErrorCode) -> OAuthError {
    OAuthError::new(code, "the request needs exactly one DPoP proof")
}

fn respond<T: Serialize>(answered: Result<T, OAuthError>) -> Response {
    match answered {
        Ok(body) => answer::json(StatusCode::OK, &body),
        Err(error) => error.into_response(),
    }
}

fn token_in(params: &Params) -> Result<&str, OAuthError> {
    params.get("token").ok_or_else(|| OAuthError::invalid_request("token is missing"))
}

/// The client that a legacy sign-in form is attributed to, if the operator has configured one.
async fn legacy_client(provider: &Provider) -> Result<Client, OAuthError> {
    let unknown = || OAuthError::new(ErrorCode::UnsupportedGrantType, "the grant_type is not supported");
    let id = provider.settings.legacy_client.as_ref().ok_or_else(unknown)?;
    provider.storage.client(id).await?.ok_or_else(unknown)
}
