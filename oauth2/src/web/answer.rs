//! Responses to clients: JSON that must not be cached, and errors.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::base::error::{ErrorCode, OAuthError};

/// A JSON response that must not be cached (RFC 6749 section 5.1).
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).expect("texts and numbers always make JSON");
    let mut response = (status, bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The body of an error response (RFC 6749 section 5.2).
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'static str,
    error_description: &'a str,
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: self.code.name(), error_description: &self.detail };
        let mut response = json(self.code.status(), &body);
        retry_after(response.headers_mut(), &self);
        if let Some(challenge) = challenge(self.code) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Sets `Retry-After`, in whole seconds.
pub(super) fn retry_after(headers: &mut HeaderMap, error: &OAuthError) {
    if let Some(wait) = error.retry_after {
        let seconds = wait.as_secs() + i64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
}

/// The `WWW-Authenticate` of a 401 (RFC 9110 section 15.5.2), and of a 403 of a resource (RFC 6750 section 3).
fn challenge(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::InvalidClient => Some(r#"Basic realm="mgx""#),
        ErrorCode::WrongPassword => Some(r#"Bearer realm="mgx""#),
        ErrorCode::InvalidToken => Some(r#"Bearer realm="mgx", error="invalid_token""#),
        ErrorCode::InvalidDpopProofAtResource => Some(r#"DPoP error="invalid_dpop_proof", algs="ES256""#),
        ErrorCode::InsufficientScope => {
            Some(r#"Bearer realm="mgx", error="insufficient_scope", scope="openid""#)
        }
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidGrant
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::UnsupportedResponseType
        | ErrorCode::InvalidScope
        | ErrorCode::AccessDenied
        | ErrorCode::LoginRequired
        | ErrorCode::ConsentRequired
        | ErrorCode::RequestNotSupported
        | ErrorCode::RequestUriNotSupported
        | ErrorCode::AuthorizationPending
        | ErrorCode::SlowDown
        | ErrorCode::InvalidDpopProof
        | ErrorCode::ExpiredToken
        | ErrorCode::TooManyRequests
        | ErrorCode::TemporarilyUnavailable
        | ErrorCode::TooLarge
        | ErrorCode::UnsupportedEncoding => None,
    }
}
