//! The answers that refuse a caller: 401 and 403 with a `WWW-Authenticate` challenge (RFC 6750, RFC 9449).

use axum::http::{HeaderValue, header};

use super::rights::{Right, Rights};
use crate::http::{Problem, Slug};

/// RFC 6750 section 3.1: no credentials, so no error code.
pub(super) fn unauthorized() -> Problem {
    let detail = "send authorization: Bearer with a token, or sign in at /auth/login";
    refused(detail, r#"Bearer realm="mgx", DPoP algs="ES256""#)
}

pub(super) fn wrong_token() -> Problem {
    let detail = "the token is not valid here";
    refused(detail, r#"Bearer realm="mgx", error="invalid_token", DPoP algs="ES256""#)
}

/// RFC 9449 section 7.1.
pub(super) fn wrong_bound_token() -> Problem {
    refused("the token is not valid here", r#"DPoP realm="mgx", error="invalid_token", algs="ES256""#)
}

pub(super) fn wrong_proof() -> Problem {
    let detail = "one DPoP proof is needed, for this request and this token";
    refused(detail, r#"DPoP realm="mgx", error="invalid_dpop_proof", algs="ES256""#)
}

fn refused(detail: &'static str, challenge: &'static str) -> Problem {
    Problem::new(Slug::Unauthorized, detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// RFC 6750 section 3.1: a valid token without the right for the route.
pub(super) fn forbidden(has: Rights, right: Right) -> Problem {
    let detail = if has.has(right) {
        "this is for administrators".to_owned()
    } else {
        format!("the token has no scope {right}")
    };
    let challenge = format!(r#"Bearer realm="mgx", error="insufficient_scope", scope="{right}""#);
    let challenge = HeaderValue::from_str(&challenge).expect("a scope is plain");
    Problem::new(Slug::Forbidden, detail).header(header::WWW_AUTHENTICATE, challenge)
}
