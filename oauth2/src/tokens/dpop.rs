//! DPoP proofs (RFC 9449): a token that is bound to a key is valid only with a proof, signed with that key for each
//! request. A stolen token alone is of no use.

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

/// The most seconds between the `iat` of a proof and now, in both directions.
const SKEW_S: i64 = 60;

/// The most proofs that are remembered to refuse a second use.
const REMEMBERED: usize = 200_000;

/// The longest proof, in bytes.
const LONGEST: usize = 4096;

/// A proof with the request that it was sent with.
#[derive(Clone, Copy, Debug)]
pub struct DpopProof<'a> {
    /// The value of the only `DPoP` header.
    pub text: &'a str,
    /// The method of the request.
    pub method: &'a str,
    /// The URI of the request as the client sees it, without a query.
    pub uri: &'a str,
}

/// The thumbprint (RFC 7638) of the key that signed a proof: the `jkt` of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbprint(String);

/// The proof is not valid for the request: `invalid_dpop_proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the DPoP proof is not valid for this request")]
pub struct InvalidProof;

/// Checks proofs and accepts each one once. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProofChecker(Arc<Mutex<BoundedMap<Digest, ()>>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: String,
    jwk: Key,
}

/// The public key in the header of a proof.
#[derive(Deserialize)]
struct Key {
    kty: String,
    crv: String,
    x: String,
    y: String,
    /// Refused if present: the proof would disclose the private key.
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

    /// The hash under which it is stored.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl ProofChecker {
    /// The thumbprint of the key that signed the proof, if it is recent, unused, and made for this request and this
    /// token.
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

/// The key and the claims of a proof that this key has signed.
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
    let key = PublicKey::p256(&[&[4], &*decode(&x)?, &*decode(&y)?].concat(), None).ok()?;
    let message = &text.as_bytes()[..head.len() + 1 + body.len()];
    if !fits || !key.verifies(message, &decode(signature)?) {
        return None;
    }
    Some((key, serde_json::from_slice(&decode(body)?).ok()?))
}

/// Whether both URIs are equal without query and fragment (RFC 9449 section 4.3).
fn is_address(claimed: &str, uri: &str) -> bool {
    let Ok(mut claimed) = Url::parse(claimed) else { return false };
    claimed.set_query(None);
    claimed.set_fragment(None);
    Url::parse(uri).is_ok_and(|uri| uri == claimed)
}
