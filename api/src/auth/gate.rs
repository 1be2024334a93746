//! Authenticates every request under `/api` before any handler runs: by a token (RFC 6750), by a token with a proof
//! (RFC 9449), or by the cookie of the platform's pages.

#[cfg(test)]
mod auth_tests;
#[cfg(test)]
mod dpop_tests;
#[cfg(test)]
mod scope_tests;

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use mgx_oauth2::{
    API_TOKEN_PREFIX, Administration, BoundTokenError, DpopProof, PresentedToken, Provider, Scope,
    StorageError, Verifier,
};
use mgx_scheduler::JournalError;
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::browser::{Cookie, is_same_origin};
use super::caller::Caller;
use super::challenge::{forbidden, unauthorized, wrong_bound_token, wrong_proof, wrong_token};
use super::credential::Credential;
use super::rights::Right;
use crate::http::Problem;

/// The administrator's token, kept only as its hash, so that it cannot be printed.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Keeps the hash of `token`.
    pub fn new(token: &SecretString) -> Self {
        Self(hash(token.expose_secret().as_bytes()))
    }

    /// Whether `given` is the token, in constant time.
    fn matches(&self, given: &str) -> bool {
        self.0.ct_eq(&hash(given.as_bytes())).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Authenticates callers by the administrator's token and by the provider's tokens and cookies. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    admin: AdminToken,
    provider: Arc<Provider>,
    verifier: Arc<Verifier>,
    /// The scope of a browser that is signed in to the platform's pages.
    pages: Scope,
}

/// The audience of the access tokens that this API accepts.
pub const AUDIENCE: &str = "mgx";

/// The scope that the platform's pages ask for: an administrator administrates in them too.
pub(super) const PAGES_SCOPE: &str = "read write admin";

impl Gate {
    /// Accepts the administrator's token `admin` and the tokens of `provider`.
    pub fn new(admin: AdminToken, provider: Arc<Provider>) -> Self {
        let verifier = Arc::new(provider.verifier(AUDIENCE));
        let pages = PAGES_SCOPE.parse().expect("plain words are a scope");
        Self { admin, provider, verifier, pages }
    }

    /// The provider of accounts and tokens.
    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// Changes accounts in the name of `caller`.
    pub(crate) fn administration<'a>(&'a self, caller: &'a Caller) -> Administration<'a> {
        self.provider.administration(Some(caller.user()))
    }

    /// The caller of a request and the credential that proves it: the token, or the cookie if there is no token.
    async fn caller(&self, request: &Parts<'_>) -> Result<(Caller, Credential), Problem> {
        let credential = self.credential(request)?;
        let refused = || match credential {
            Credential::Cookie(_) => unauthorized(),
            Credential::Admin | Credential::ApiToken(_) | Credential::Access(_) => wrong_token(),
        };
        let caller = self.caller_of(&credential).await?.ok_or_else(refused)?;
        Ok((caller, credential))
    }

    /// The credential of a request, checked as far as that needs no store.
    fn credential(&self, request: &Parts<'_>) -> Result<Credential, Problem> {
        if !request.headers.contains_key(header::AUTHORIZATION) {
            return self.cookie(request);
        }
        match PresentedToken::of(request.headers).ok_or_else(unauthorized)? {
            PresentedToken::Bearer(token) if self.admin.matches(token) => Ok(Credential::Admin),
            PresentedToken::Bearer(token) if token.starts_with(API_TOKEN_PREFIX) => {
                Ok(Credential::ApiToken(token.into()))
            }
            PresentedToken::Bearer(token) => {
                Ok(Credential::Access(self.verifier.verify(token).map_err(|_| wrong_token())?))
            }
            PresentedToken::Dpop { token, proof } => {
                self.bound(token, proof.ok_or_else(wrong_proof)?, request)
            }
        }
    }

    /// An access token that is bound to a key, with a proof for this request.
    fn bound(&self, token: &str, proof: &str, request: &Parts<'_>) -> Result<Credential, Problem> {
        let uri = format!("{}{}", self.provider.settings().issuer.origin(), request.path);
        let proof = DpopProof { text: proof, method: request.method.as_str(), uri: &uri };
        let access = self.verifier.verify_bound(token, proof).map_err(|why| match why {
            BoundTokenError::Token(_) => wrong_bound_token(),
            BoundTokenError::Proof(_) => wrong_proof(),
        })?;
        Ok(Credential::Access(access))
    }

    /// The cookie of the platform's pages, if one of them sends the request.
    fn cookie(&self, request: &Parts<'_>) -> Result<Credential, Problem> {
        let issuer = &self.provider.settings().issuer;
        let cookie = Cookie::Session.get(request.headers, issuer.is_secure()).ok_or_else(unauthorized)?;
        if !is_same_origin(request.method, request.headers, issuer.origin()) {
            return Err(Problem::cross_site());
        }
        Ok(Credential::Cookie(cookie.into()))
    }

    /// The caller that a credential stands for now; `None` if it is no longer valid.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn caller_of(&self, credential: &Credential) -> Result<Option<Caller>, StorageError> {
        Ok(match credential {
            Credential::Admin => Some(Caller::admin()),
            Credential::ApiToken(token) => {
                let known = self.provider.api_token(token.expose_secret()).await?;
                known.map(|(user, token)| Caller::of_user(&user, &token.scope))
            }
            Credential::Access(access) if self.verifier.counts(access) => match Caller::of_access(access) {
                Ok(caller) => Some(caller),
                Err(user) => {
                    let user = self.provider.enabled_user(user).await?;
                    user.map(|user| Caller::of_user(&user, &access.scope))
                }
            },
            Credential::Access(_) => None,
            Credential::Cookie(cookie) => {
                let session = self.provider.pages_session(cookie.expose_secret()).await?;
                session.map(|session| Caller::of_user(&session.user, &self.pages))
            }
        })
    }
}

/// The parts of a request that authenticate its caller.
struct Parts<'a> {
    method: &'a Method,
    path: &'a str,
    headers: &'a HeaderMap,
}

/// Lets a request under `/api` through if its credential has the right for it, and adds the [`Caller`] for the handler.
pub(crate) async fn check(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        let right = Right::of(request.method(), path);
        let parts = Parts { method: request.method(), path, headers: request.headers() };
        let (caller, credential) = gate.caller(&parts).await?;
        if !caller.may(right) {
            return Err(forbidden(caller.rights(), right));
        }
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(credential);
    }
    Ok(next.run(request).await)
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
    fn a_token_matches_only_itself_and_prints_nothing() {
        let token = AdminToken::new(&SecretString::from("correct horse"));
        assert!(token.matches("correct horse"));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!token.matches(wrong), "{wrong:?}");
        }
        assert_eq!(format!("{token:?}"), "AdminToken(…)");
    }
}
