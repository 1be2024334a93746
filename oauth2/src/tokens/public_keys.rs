//! Public keys: what tokens are verified with, and what the JWKS shows. Nothing in here is a secret.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// A public key on P-256, for ES256 (RFC 7518 section 3.4), and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    point: [u8; POINT],
    /// Until when tokens may be signed with it; the key that signs now has no end.
    pub(crate) until: Option<Timestamp>,
}

/// An uncompressed point: 4, x, y.
const POINT: usize = 65;

/// A key as the JWKS shows it (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
    kid: String,
    alg: String,
    #[serde(rename = "use")]
    purpose: String,
}

/// A JWK set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// It is no key for ES256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key on P-256 for ES256")]
pub struct BadKey;

impl PublicKey {
    /// The key with these coordinates; its `kid` is its thumbprint (RFC 7638).
    pub(crate) fn new(point: &[u8], until: Option<Timestamp>) -> Result<Self, BadKey> {
        let point: [u8; POINT] = point.try_into().map_err(|_| BadKey)?;
        if point[0] != 4 {
            return Err(BadKey);
        }
        let (x, y) = coordinates(&point);
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()));
        Ok(Self { kid, point, until })
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn point(&self) -> &[u8] {
        &self.point
    }

    /// Whether `signature` is this key's, of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point).verify(message, signature).is_ok()
    }

    fn jwk(&self) -> Jwk {
        let (x, y) = coordinates(&self.point);
        let text = str::to_owned;
        Jwk {
            kty: text("EC"),
            crv: text("P-256"),
            x,
            y,
            kid: self.kid.clone(),
            alg: text("ES256"),
            purpose: text("sig"),
        }
    }
}

impl TryFrom<&Jwk> for PublicKey {
    type Error = BadKey;

    fn try_from(jwk: &Jwk) -> Result<Self, BadKey> {
        if (&*jwk.kty, &*jwk.crv, &*jwk.alg, &*jwk.purpose) != ("EC", "P-256", "ES256", "sig") {
            return Err(BadKey);
        }
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| BadKey);
        let key = Self::new(&[&[4], &*decode(&jwk.x)?, &*decode(&jwk.y)?].concat(), None)?;
        if key.kid == jwk.kid { Ok(key) } else { Err(BadKey) }
    }
}

fn coordinates(point: &[u8; POINT]) -> (String, String) {
    let (x, y) = point[1..].split_at(32);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

/// The public keys that count now. Cheap to clone; every clone sees a rotation at once.
#[derive(Clone, Debug, Default)]
pub struct PublicKeys(Arc<RwLock<Arc<[PublicKey]>>>);

impl PublicKeys {
    /// The keys of a JWKS that was fetched from the issuer; to be fetched again when a token names a key that is not
    /// in it, and never from an address that a token names.
    ///
    /// # Errors
    /// [`BadKey`] if one of them is not for ES256.
    pub fn of(jwks: &Jwks) -> Result<Self, BadKey> {
        let keys = Self::default();
        keys.replace(jwks.keys.iter().map(PublicKey::try_from).collect::<Result<_, _>>()?);
        Ok(keys)
    }

    /// The JWKS.
    pub fn jwks(&self, now: Timestamp) -> Jwks {
        let counts = |key: &&PublicKey| key.until.is_none_or(|until| now < until);
        Jwks { keys: self.all().iter().filter(counts).map(PublicKey::jwk).collect() }
    }

    pub(crate) fn replace(&self, keys: Vec<PublicKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    pub(crate) fn all(&self) -> Arc<[PublicKey]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is a key of this name that counts.
    pub(crate) fn has(&self, kid: &str, now: Timestamp) -> bool {
        self.all().iter().any(|key| key.kid == kid && key.until.is_none_or(|until| now < until))
    }
}
