//! Who is asking: the bearer token (RFC 6750), checked before anything else about a request under `/api`.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::App;
use crate::problem::{Problem, Slug};

/// The administrator's token, kept only as its hash: nothing here can print it.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Keeps the hash of `token`.
    pub fn new(token: &SecretString) -> Self {
        Self(hash(token.expose_secret().as_bytes()))
    }

    /// Whether `given` is the token; takes as long whatever it is.
    fn matches(&self, given: &str) -> bool {
        self.0.ct_eq(&hash(given.as_bytes())).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Who is asking. Having one means that the token was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(Arc<str>);

impl User {
    /// The administrator: the only user for now.
    pub const ADMIN: &str = "admin";

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whose things this user may see and change; `None`: everybody's.
    pub fn scope(&self) -> Option<&str> {
        (self.name() != Self::ADMIN).then(|| self.name())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(unauthorized)
    }
}

/// Lets a request under `/api` through if it carries the token, and says so to the handler.
pub(crate) async fn check(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        match bearer(request.headers()) {
            Some(token) if app.token.matches(token) => {
                request.extensions_mut().insert(User(User::ADMIN.into()));
            }
            Some(_) => return wrong_token().into_response(),
            None => return unauthorized().into_response(),
        }
    }
    next.run(request).await
}

/// The token of the one `Authorization: Bearer …` header. Two headers are as good as none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// RFC 6750 section 3.1: no credentials, so no error code.
fn unauthorized() -> Problem {
    Problem::new(Slug::Unauthorized, "send authorization: Bearer with the platform's token")
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="mgx""#))
}

fn wrong_token() -> Problem {
    Problem::new(Slug::Unauthorized, "the token is not valid here").header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(r#"Bearer realm="mgx", error="invalid_token""#),
    )
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_header_is_a_token() {
        let given = |values: &[&'static str]| {
            let headers: HeaderMap =
                values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value))).collect();
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(given(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(given(&["bearer  abc"]).as_deref(), Some("abc"));
        for wrong in [&[][..], &["Bearer"], &["Bearer "], &["Basic abc"], &["abc"], &["Bearer a", "Bearer b"]]
        {
            assert_eq!(given(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_token_matches_only_itself_and_prints_nothing() {
        let token = AdminToken::new(&SecretString::from("correct horse"));
        assert!(token.matches("correct horse"));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!token.matches(wrong), "{wrong:?}");
        }
        assert_eq!(format!("{token:?}"), "AdminToken(…)");
    }
}
