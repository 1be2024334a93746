//! DPoP (RFC 9449): a token that counts only together with a proof, signed for each request with a key that never leaves
//! the client. Whoever steals the token alone has nothing.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use crate::base::bounded_map::BoundedMap;
use crate::base::digest::Digest;
use crate::tokens::public_keys::PublicKey;

/// By how many seconds a proof may be older or younger than now.
const SKEW_S: i64 = 60;

/// How many proofs are remembered, so that none counts twice.
const REMEMBERED: usize = 200_000;

/// The longest proof, in bytes.
const LONGEST: usize = 4096;

/// A request, and the proof that came with it.
#[derive(Clone, Copy, Debug)]
pub struct DpopProof<'a> {
    /// The one `DPoP` header.
    pub text: &'a str,
    /// The method of the request.
    pub method: &'a str,
    /// The address of the request, as the client knows it, without a query.
    pub uri: &'a str,
}

/// The thumbprint (RFC 7638) of the key that a proof was signed with: the `jkt` of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbprint(String);

/// The proof does not count: `invalid_dpop_proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the DPoP proof does not count for this request")]
pub struct InvalidProof;

/// Checks proofs, each of which counts once. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProofChecker(Arc<Mutex<BoundedMap<Digest, ()>>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: String,
    jwk: Key,
}

/// The key that a proof brings along. It proves nothing but that it is the same one as before.
#[derive(Deserialize)]
struct Key {
    kty: String,
    crv: String,
    x: String,
    y: String,
    /// A private key is not to be shown to anybody.
    #[serde(default)]
    d: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    #[serde(default)]
    ath: Option<String>,
}

impl Thumbprint {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl ProofChecker {
    /// Whose key signed the proof, which has to be of this moment, for this request and, if there is one, this token.
    pub(crate) fn check(
        &self,
        proof: DpopProof<'_>,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Thumbprint, InvalidProof> {
        let (key, claims) = open(proof.text).ok_or(InvalidProof)?;
        let hash = token.map(|token| URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())));
        let fits = claims.htm == proof.method
            && is_address(&claims.htu, proof.uri)
            && (now.as_second() - SKEW_S..=now.as_second() + SKEW_S).contains(&claims.iat)
            && (1..=256).contains(&claims.jti.len())
            && (hash.is_none() || claims.ath == hash);
        if !fits {
            return Err(InvalidProof);
        }
        let thumbprint = Thumbprint(key.kid().to_owned());
        let name = Digest::of(&format!("{}\0{}", key.kid(), claims.jti));
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.get(&name).is_some() {
            return Err(InvalidProof);
        }
        seen.put(name, (), REMEMBERED);
        Ok(thumbprint)
    }
}

/// What a proof says, if the key in it has signed it.
fn open(text: &str) -> Option<(PublicKey, Claims)> {
    let mut parts = text.split('.');
    let (head, body, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || text.len() > LONGEST {
        return None;
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let header: Header = serde_json::from_slice(&decode(head)?).ok()?;
    let Key { kty, crv, x, y, d } = header.jwk;
    let fits =
        header.typ == "dpop+jwt" && header.alg == "ES256" && kty == "EC" && crv == "P-256" && d.is_none();
    let key = PublicKey::new(&[&[4], &*decode(&x)?, &*decode(&y)?].concat(), None).ok()?;
    let message = &text.as_bytes()[..head.len() + 1 + body.len()];
    if !fits || !key.verifies(message, &decode(signature)?) {
        return None;
    }
    Some((key, serde_json::from_slice(&decode(body)?).ok()?))
}

/// Whether both are the same address, leaving query and fragment aside (RFC 9449 section 4.3).
fn is_address(claimed: &str, uri: &str) -> bool {
    let Ok(mut claimed) = Url::parse(claimed) else { return false };
    claimed.set_query(None);
    claimed.set_fragment(None);
    Url::parse(uri).is_ok_and(|uri| uri == claimed)
}
