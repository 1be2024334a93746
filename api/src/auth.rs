//! The gate: the bearer token (RFC 6750) or the cookie of the platform's pages, checked before anything else about a request under `/api`.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use mgx_oauth2::{API_TOKEN_PREFIX, Provider, Scope, StorageError, Verifier};
use mgx_scheduler::JournalError;
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::App;
use crate::browser::{Cookie, is_from_us};
use crate::caller::{Caller, Right};
use crate::problem::{Problem, Slug};
use crate::sign_in;

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

/// What lets callers in: the administrator's token, and the provider's tokens.
#[derive(Debug)]
pub struct Gate {
    admin: AdminToken,
    provider: Arc<Provider>,
    verifier: Verifier,
    /// What a browser may that is signed in to the platform's pages.
    pages: Scope,
}

/// The audience of the access tokens that are good here.
pub const AUDIENCE: &str = "mgx";

impl Gate {
    /// A gate that knows the administrator's token and those of `provider`.
    pub fn new(admin: AdminToken, provider: Arc<Provider>) -> Self {
        let verifier = provider.verifier(AUDIENCE);
        let pages = sign_in::SCOPE.parse().expect("plain words are a scope");
        Self { admin, provider, verifier, pages }
    }

    /// The provider of accounts and tokens.
    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// Who sends a request: whoever its token says, or its cookie if there is no token.
    async fn caller(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
        if headers.contains_key(header::AUTHORIZATION) {
            return self.bearer(bearer(headers).ok_or_else(unauthorized)?).await;
        }
        let issuer = &self.provider.settings().issuer;
        let cookie = Cookie::Session.get(headers, issuer.is_secure()).ok_or_else(unauthorized)?;
        if !is_from_us(method, headers, issuer.origin()) {
            return Err(Problem::cross_site());
        }
        let who = self.provider.in_pages(cookie).await?.ok_or_else(unauthorized)?;
        Ok(Caller::of_user(&who.user, &self.pages))
    }

    /// Whose `token` this is.
    async fn bearer(&self, token: &str) -> Result<Caller, Problem> {
        let caller = if self.admin.matches(token) {
            Some(Caller::admin())
        } else if token.starts_with(API_TOKEN_PREFIX) {
            let known = self.provider.api_token(token).await?;
            known.map(|(user, token)| Caller::of_user(&user, &token.scope))
        } else {
            self.verifier.verify(token).ok().and_then(|access| Caller::of_access(&access))
        };
        caller.ok_or_else(wrong_token)
    }
}

/// Lets a request under `/api` through if its token is good for it, and tells the handler whose it is.
pub(crate) async fn check(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        let right = Right::of(request.method(), path);
        let caller = app.gate.caller(request.method(), request.headers()).await?;
        if !caller.may(right) {
            return Err(forbidden(&caller, right));
        }
        request.extensions_mut().insert(caller);
    }
    Ok(next.run(request).await)
}

/// The token of the one `Authorization: Bearer …` header. Two headers are as good as none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// RFC 6750 section 3.1: no credentials, so no error code.
pub(crate) fn unauthorized() -> Problem {
    Problem::new(Slug::Unauthorized, "send authorization: Bearer with a token, or sign in at /auth/login")
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="mgx""#))
}

fn wrong_token() -> Problem {
    Problem::new(Slug::Unauthorized, "the token is not valid here").header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(r#"Bearer realm="mgx", error="invalid_token""#),
    )
}

/// RFC 6750 section 3.1: a good token that is not good for this.
fn forbidden(caller: &Caller, right: Right) -> Problem {
    let detail = if caller.rights().has(right) {
        "this is for administrators".to_owned()
    } else {
        format!("the token has no scope {right}")
    };
    let challenge = format!(r#"Bearer realm="mgx", error="insufficient_scope", scope="{right}""#);
    let challenge = HeaderValue::from_str(&challenge).expect("a scope is plain");
    Problem::new(Slug::Forbidden, detail).header(header::WWW_AUTHENTICATE, challenge)
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full => JournalError::Full.into(),
            StorageError::Unavailable(cause) => JournalError::Unavailable(cause).into(),
        }
    }
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
