//! What a client is told when it does not get what it asked for (RFC 6749 sections 4.1.2.1 and 5.2, and their kin).

use std::borrow::Cow;

use http::StatusCode;
use jiff::SignedDuration;

/// An answer that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.name())]
pub struct OAuthError {
    /// The word to branch on.
    pub code: ErrorCode,
    /// What was wrong, for the people who write the client. No secret, and nothing about other users.
    pub detail: Cow<'static, str>,
    /// When to try again.
    pub retry_after: Option<SignedDuration>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident;)*) => {
        /// The value of `error`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// The word.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status of an answer that is not a redirect.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

codes! {
    /// A parameter is missing, repeated or malformed.
    InvalidRequest = "invalid_request", BAD_REQUEST;
    /// The client has not shown who it is.
    InvalidClient = "invalid_client", UNAUTHORIZED;
    /// The code, refresh token, device code or password does not count.
    InvalidGrant = "invalid_grant", BAD_REQUEST;
    /// As above, where the seeds' platform answers so: a password that is wrong.
    WrongPassword = "invalid_grant", UNAUTHORIZED;
    /// The client may not ask in this way.
    UnauthorizedClient = "unauthorized_client", BAD_REQUEST;
    /// There is no such way.
    UnsupportedGrantType = "unsupported_grant_type", BAD_REQUEST;
    /// There is no such answer.
    UnsupportedResponseType = "unsupported_response_type", BAD_REQUEST;
    /// More than the client may have.
    InvalidScope = "invalid_scope", BAD_REQUEST;
    /// The user said no.
    AccessDenied = "access_denied", BAD_REQUEST;
    /// Nobody is signed in, and nobody may be asked to.
    LoginRequired = "login_required", BAD_REQUEST;
    /// The user has not been asked, and may not be.
    ConsentRequired = "consent_required", BAD_REQUEST;
    /// Request objects are not known here (OpenID Connect Core section 6).
    RequestNotSupported = "request_not_supported", BAD_REQUEST;
    /// Nor by reference.
    RequestUriNotSupported = "request_uri_not_supported", BAD_REQUEST;
    /// Nobody has said yes yet (RFC 8628 section 3.5).
    AuthorizationPending = "authorization_pending", BAD_REQUEST;
    /// The device polls too often.
    SlowDown = "slow_down", BAD_REQUEST;
    /// The device code is too old.
    ExpiredToken = "expired_token", BAD_REQUEST;
    /// The access token does not count (RFC 6750 section 3.1).
    InvalidToken = "invalid_token", UNAUTHORIZED;
    /// The DPoP proof does not count (RFC 9449 section 5).
    InvalidDpopProof = "invalid_dpop_proof", BAD_REQUEST;
    /// As above, at a resource (RFC 9449 section 7.1).
    InvalidDpopProofHere = "invalid_dpop_proof", UNAUTHORIZED;
    /// The access token is good for other things.
    InsufficientScope = "insufficient_scope", FORBIDDEN;
    /// Too much from one address.
    TooManyRequests = "slow_down", TOO_MANY_REQUESTS;
    /// Try again.
    TemporarilyUnavailable = "temporarily_unavailable", SERVICE_UNAVAILABLE;
    /// The body is too large.
    TooLarge = "invalid_request", PAYLOAD_TOO_LARGE;
}

impl OAuthError {
    /// An error; `detail` is a lower-case fragment of printable ASCII without `"` and `\`.
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), retry_after: None }
    }

    pub(crate) fn invalid_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, detail)
    }

    pub(crate) fn invalid_client() -> Self {
        Self::new(ErrorCode::InvalidClient, "the client is unknown or has not shown its secret")
    }

    pub(crate) fn invalid_grant() -> Self {
        Self::new(ErrorCode::InvalidGrant, "it is unknown, used up, expired, revoked, or another client's")
    }

    pub(crate) fn invalid_scope() -> Self {
        Self::new(ErrorCode::InvalidScope, "the client may not have all of this scope")
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
