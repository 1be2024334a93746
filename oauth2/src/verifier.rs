//! Verifying access tokens: what an API asks before anything else about a request.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::dpop::{BadProof, Proof, Proofs};
use crate::ids::{ClientId, GrantId, TokenId, UserId, Username};
use crate::issuer::Issuer;
use crate::jws::{self, Kind, Signed};
use crate::keys::PublicKeys;
use crate::revoked::Revoked;
use crate::scope::Scope;
use crate::secret::Digest;

/// How many tokens are known by heart. When there are more, all are forgotten: simple, and soon made good.
const KNOWN: usize = 4096;

/// By how many seconds an issuer's clock may be ahead of ours.
const AHEAD_S: i64 = 60;

/// Verifies access tokens (RFC 9068) of one issuer for one audience. The signature of a token is checked once; after
/// that it is known by its hash, and only what may have changed is checked again.
#[derive(Debug)]
pub struct Verifier {
    issuer: String,
    audience: Option<String>,
    keys: PublicKeys,
    revoked: Revoked,
    clock: Clock,
    known: Mutex<HashMap<Digest, Known>>,
    proofs: Proofs,
}

#[derive(Clone, Debug)]
struct Known {
    kid: Arc<str>,
    access: Arc<Access>,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// On whose behalf.
    pub subject: Subject,
    /// Which client it was given to.
    pub client: ClientId,
    /// What it is good for.
    pub scope: Scope,
    /// Who is to accept it.
    pub audience: String,
    /// Its own id.
    pub token: TokenId,
    /// What it came of.
    pub grant: Option<GrantId>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When the user showed who they are.
    pub auth_time: Option<Timestamp>,
    /// The user's name: with scope `profile`, and always in a token of the platform's own clients.
    pub username: Option<Username>,
    /// The user's groups: with scope `groups`, and always in a token of the platform's own clients.
    pub groups: BTreeSet<String>,
    /// Thumbprint of the key without which it does not count (RFC 9449 section 6).
    pub key: Option<String>,
}

/// On whose behalf a token speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user's.
    User(UserId),
    /// The client's own.
    Client,
}

/// The token does not count: `invalid_token` (RFC 6750 section 3.1). Why is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token is not valid here")]
pub struct InvalidToken;

/// Why a token that is bound to a key does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// The token.
    #[error(transparent)]
    Token(InvalidToken),
    /// The proof.
    #[error(transparent)]
    Proof(BadProof),
}

/// The claims of an access token, as they are signed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) client_id: ClientId,
    pub(crate) scope: Scope,
    pub(crate) jti: TokenId,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gid: Option<GrantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auth_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preferred_username: Option<Username>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) groups: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cnf: Option<Confirmation>,
}

/// The key that a token is bound to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Confirmation {
    pub(crate) jkt: String,
}

impl Verifier {
    /// A verifier of what `issuer` signs for `audience`, whatever the audience if there is none.
    pub fn new(
        issuer: &Issuer,
        audience: Option<String>,
        keys: PublicKeys,
        revoked: Revoked,
        clock: Clock,
    ) -> Self {
        let (issuer, known, proofs) = (issuer.as_str().to_owned(), Mutex::default(), Proofs::default());
        Self { issuer, audience, keys, revoked, clock, known, proofs }
    }

    /// What `token` says that came as `Authorization: Bearer`. One that is bound to a key does not count so.
    ///
    /// # Errors
    /// [`InvalidToken`]: answer 401 with `WWW-Authenticate: Bearer error="invalid_token"`.
    pub fn verify(&self, token: &str) -> Result<Arc<Access>, InvalidToken> {
        self.verify_unproved(token).and_then(|access| match access.key {
            None => Ok(access),
            Some(_) => Err(InvalidToken),
        })
    }

    /// What `token` says that came as `Authorization: DPoP`, with a proof.
    ///
    /// # Errors
    /// [`Unproved`]: answer 401 with `WWW-Authenticate: DPoP` and its error.
    pub fn verify_bound(&self, token: &str, proof: Proof<'_>) -> Result<Arc<Access>, Unproved> {
        let access = self.verify_unproved(token).map_err(Unproved::Token)?;
        let key = access.key.as_deref().ok_or(Unproved::Token(InvalidToken))?;
        let shown = self.proofs.check(proof, Some(token), self.clock.now()).map_err(Unproved::Proof)?;
        if shown.as_str() == key { Ok(access) } else { Err(Unproved::Proof(BadProof)) }
    }

    /// What `token` says, whether or not whoever shows it has shown that it is theirs.
    pub(crate) fn verify_unproved(&self, token: &str) -> Result<Arc<Access>, InvalidToken> {
        let now = self.clock.now();
        let digest = Digest::of(token);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        let access = match known {
            Some(known) if self.keys.has(&known.kid, now) => known.access,
            Some(_) | None => self.verify_anew(token, digest, now)?,
        };
        if self.counts(&access) { Ok(access) } else { Err(InvalidToken) }
    }

    /// Whether a token that was verified before still counts: it has neither ended nor been taken back.
    pub fn counts(&self, access: &Access) -> bool {
        self.clock.now() < access.expires_at && !self.revoked.has(access.token, access.grant)
    }

    fn verify_anew(&self, token: &str, digest: Digest, now: Timestamp) -> Result<Arc<Access>, InvalidToken> {
        let signed: Signed<Claims> =
            jws::verify(token, Kind::Access, &self.keys, now).map_err(|_| InvalidToken)?;
        let access = Arc::new(self.read(signed.claims, now).ok_or(InvalidToken)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(digest, Known { kid: signed.kid.into(), access: Arc::clone(&access) });
        Ok(access)
    }

    fn read(&self, claims: Claims, now: Timestamp) -> Option<Access> {
        let soon = now.as_second() + AHEAD_S;
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
        Some(Access {
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
