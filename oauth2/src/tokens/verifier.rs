//! The verifier of access tokens, for APIs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::base::clock::Clock;
use crate::base::digest::Digest;
use crate::base::ids::UserId;
use crate::base::issuer::Issuer;
use crate::tokens::access_token::{AccessToken, AccessTokenClaims, Subject};
use crate::tokens::dpop::{DpopProof, InvalidProof, ProofChecker};
use crate::tokens::jws::{self, TokenType, VerifiedJws};
use crate::tokens::public_keys::PublicKeys;
use crate::tokens::revoked_tokens::RevokedTokens;

/// The most verified tokens that are cached. The cache is emptied when it is full.
const MAX_CACHED_TOKENS: usize = 4096;

/// The most seconds by which the issuer's clock may be ahead.
const MAX_CLOCK_SKEW_S: i64 = 60;

/// Verifies access tokens (RFC 9068) of one issuer for one audience. The signature of a token is checked once; then
/// the token is cached by its hash, and only expiry, revocation and the validity of its key are checked again.
#[derive(Debug)]
pub struct Verifier {
    issuer: String,
    audience: Option<String>,
    keys: PublicKeys,
    revoked: RevokedTokens,
    clock: Clock,
    known: Mutex<HashMap<Digest, CachedToken>>,
    proofs: ProofChecker,
}

#[derive(Clone, Debug)]
struct CachedToken {
    kid: Arc<str>,
    access: Arc<AccessToken>,
}

/// The token is not valid: `invalid_token` (RFC 6750 section 3.1). The reason is not disclosed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token is not valid")]
pub struct InvalidToken;

/// Why a token that is bound to a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundTokenError {
    /// The token is not valid, or not bound to a key.
    #[error(transparent)]
    Token(InvalidToken),
    /// The proof is not valid, or was signed with another key.
    #[error(transparent)]
    Proof(InvalidProof),
}

impl Verifier {
    /// A verifier of the tokens of `issuer` for `audience`, or for any audience if it is `None`.
    pub fn new(
        issuer: &Issuer,
        audience: Option<String>,
        keys: PublicKeys,
        revoked: RevokedTokens,
        clock: Clock,
    ) -> Self {
        let (issuer, known, proofs) = (issuer.as_str().to_owned(), Mutex::default(), ProofChecker::default());
        Self { issuer, audience, keys, revoked, clock, known, proofs }
    }

    /// Verifies a token from `Authorization: Bearer`. One that is bound to a key is refused.
    ///
    /// # Errors
    /// [`InvalidToken`]: answer 401 with `WWW-Authenticate: Bearer error="invalid_token"`.
    pub fn verify(&self, token: &str) -> Result<Arc<AccessToken>, InvalidToken> {
        self.verify_unproved(token).and_then(|access| match access.key {
            None => Ok(access),
            Some(_) => Err(InvalidToken),
        })
    }

    /// Verifies a token from `Authorization: DPoP`, with its proof.
    ///
    /// # Errors
    /// [`BoundTokenError`]: answer 401 with `WWW-Authenticate: DPoP` and its error.
    pub fn verify_bound(
        &self,
        token: &str,
        proof: DpopProof<'_>,
    ) -> Result<Arc<AccessToken>, BoundTokenError> {
        let access = self.verify_unproved(token).map_err(BoundTokenError::Token)?;
        let key = access.key.as_deref().ok_or(BoundTokenError::Token(InvalidToken))?;
        let shown =
            self.proofs.check(proof, Some(token), self.clock.now()).map_err(BoundTokenError::Proof)?;
        if shown.as_str() == key { Ok(access) } else { Err(BoundTokenError::Proof(InvalidProof)) }
    }

    /// Verifies a token without its proof, if it is bound to a key.
    pub(crate) fn verify_unproved(&self, token: &str) -> Result<Arc<AccessToken>, InvalidToken> {
        let now = self.clock.now();
        let digest = Digest::of(token);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        let access = match known {
            Some(known) if self.keys.has(&known.kid, now) => known.access,
            Some(_) | None => self.verify_anew(token, digest, now)?,
        };
        if self.counts(&access) { Ok(access) } else { Err(InvalidToken) }
    }

    /// Whether a verified token is still neither expired nor revoked.
    pub fn counts(&self, access: &AccessToken) -> bool {
        self.clock.now() < access.expires_at && !self.revoked.has(access.token, access.grant)
    }

    fn verify_anew(
        &self,
        token: &str,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Arc<AccessToken>, InvalidToken> {
        let signed: VerifiedJws<AccessTokenClaims> =
            jws::verify(token, TokenType::Access, &self.keys, now).map_err(|_| InvalidToken)?;
        let access = Arc::new(self.read(signed.claims, now).ok_or(InvalidToken)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_CACHED_TOKENS {
            known.clear();
        }
        known.insert(digest, CachedToken { kid: signed.kid.into(), access: Arc::clone(&access) });
        Ok(access)
    }

    fn read(&self, claims: AccessTokenClaims, now: Timestamp) -> Option<AccessToken> {
        let soon = now.as_second() + MAX_CLOCK_SKEW_S;
        let ours = claims.iss == self.issuer && self.audience.as_ref().is_none_or(|aud| *aud == claims.aud);
        if !ours
            || claims.iat > soon
            || claims.nbf.is_some_and(|nbf| nbf > soon)
            || claims.exp <= now.as_second()
        {
            return None;
        }
        let subject = if claims.sub == claims.client_id.as_str() {
            Subject::Client
        } else {
            Subject::User(UserId(claims.sub.parse().ok()?))
        };
        let time = |seconds| Timestamp::from_second(seconds).ok();
        Some(AccessToken {
            subject,
            client: claims.client_id,
            scope: claims.scope,
            audience: claims.aud,
            token: claims.jti,
            grant: claims.gid,
            issued_at: time(claims.iat)?,
            expires_at: time(claims.exp)?,
            auth_time: claims.auth_time.and_then(time),
            username: claims.preferred_username,
            groups: claims.groups,
            key: claims.cnf.map(|cnf| cnf.jkt),
        })
    }
}
