//! Protocol errors: the value of `error`, its description and its HTTP status (RFC 6749 sections 4.1.2.1 and 5.2).

use std::borrow::Cow;

use http::StatusCode;
use jiff::SignedDuration;

/// An error response to a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.name())]
pub struct OAuthError {
    /// The error code, which a client branches on.
    pub code: ErrorCode,
    /// The value of `error_description`, for the developers of the client. Holds no secret, and nothing about other
    /// users.
    pub detail: Cow<'static, str>,
    /// When the client may try again: the value of `Retry-After`.
    pub retry_after: Option<SignedDuration>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident;)*) => {
        /// The error code of a response. Two codes may have the same text and differ in their status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// The value of `error`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status of a response that is not a redirect.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

codes! {
    /// A parameter is missing, repeated or malformed.
    InvalidRequest = "invalid_request", BAD_REQUEST;
    /// Client authentication failed (RFC 6749 section 5.2).
    InvalidClient = "invalid_client", UNAUTHORIZED;
    /// The code, refresh token, device code or password is not valid.
    InvalidGrant = "invalid_grant", BAD_REQUEST;
    /// `invalid_grant` with status 401: a wrong password in the password grant, as earlier platforms answer it.
    WrongPassword = "invalid_grant", UNAUTHORIZED;
    /// The client is not registered for this grant type.
    UnauthorizedClient = "unauthorized_client", BAD_REQUEST;
    /// The grant type is not supported.
    UnsupportedGrantType = "unsupported_grant_type", BAD_REQUEST;
    /// The response type is not supported.
    UnsupportedResponseType = "unsupported_response_type", BAD_REQUEST;
    /// The scope is malformed, or the client is registered for nothing of it.
    InvalidScope = "invalid_scope", BAD_REQUEST;
    /// The user denied the request.
    AccessDenied = "access_denied", BAD_REQUEST;
    /// The user is not signed in, and `prompt=none` forbids a sign-in page.
    LoginRequired = "login_required", BAD_REQUEST;
    /// The user has not consented, and `prompt=none` forbids a consent page.
    ConsentRequired = "consent_required", BAD_REQUEST;
    /// Request objects are not supported (OpenID Connect Core section 6.1).
    RequestNotSupported = "request_not_supported", BAD_REQUEST;
    /// Request objects by reference are not supported (OpenID Connect Core section 6.2).
    RequestUriNotSupported = "request_uri_not_supported", BAD_REQUEST;
    /// The user has not decided yet (RFC 8628 section 3.5).
    AuthorizationPending = "authorization_pending", BAD_REQUEST;
    /// The device polls too often (RFC 8628 section 3.5).
    SlowDown = "slow_down", BAD_REQUEST;
    /// The device code has expired (RFC 8628 section 3.5).
    ExpiredToken = "expired_token", BAD_REQUEST;
    /// The access token is not valid (RFC 6750 section 3.1).
    InvalidToken = "invalid_token", UNAUTHORIZED;
    /// The DPoP proof of a token request is not valid (RFC 9449 section 5).
    InvalidDpopProof = "invalid_dpop_proof", BAD_REQUEST;
    /// The DPoP proof of a request to a resource is not valid (RFC 9449 section 7.1).
    InvalidDpopProofAtResource = "invalid_dpop_proof", UNAUTHORIZED;
    /// The access token lacks a scope (RFC 6750 section 3.1).
    InsufficientScope = "insufficient_scope", FORBIDDEN;
    /// Too many requests from one address.
    TooManyRequests = "slow_down", TOO_MANY_REQUESTS;
    /// The provider is overloaded, or its storage does not respond.
    TemporarilyUnavailable = "temporarily_unavailable", SERVICE_UNAVAILABLE;
    /// The request body is too large.
    TooLarge = "invalid_request", PAYLOAD_TOO_LARGE;
    /// The request body is compressed.
    UnsupportedEncoding = "invalid_request", UNSUPPORTED_MEDIA_TYPE;
}

impl OAuthError {
    /// An error. `detail` is a lower-case fragment of printable ASCII without `"` and `\` (RFC 6749 section 5.2).
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), retry_after: None }
    }

    pub(crate) fn invalid_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, detail)
    }

    pub(crate) fn invalid_client() -> Self {
        Self::new(ErrorCode::InvalidClient, "the client is unknown, or its secret is missing or wrong")
    }

    pub(crate) fn invalid_grant() -> Self {
        Self::new(
            ErrorCode::InvalidGrant,
            "the code or token is unknown, used up, expired, revoked, or another client's",
        )
    }

    pub(crate) fn invalid_scope() -> Self {
        Self::new(ErrorCode::InvalidScope, "the client is registered for nothing of this scope")
    }

    pub(crate) fn unauthorized_client() -> Self {
        Self::new(ErrorCode::UnauthorizedClient, "the client is not registered for this grant type")
    }

    pub(crate) fn too_many(detail: &'static str, wait: SignedDuration) -> Self {
        Self { retry_after: Some(wait), ..Self::new(ErrorCode::TooManyRequests, detail) }
    }

    pub(crate) fn unavailable(detail: &'static str) -> Self {
        let wait = Some(SignedDuration::from_secs(2));
        Self { retry_after: wait, ..Self::new(ErrorCode::TemporarilyUnavailable, detail) }
    }
}
