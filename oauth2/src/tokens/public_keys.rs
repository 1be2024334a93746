//! Public keys, which verify tokens and are published as a JWK set (RFC 7517).

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// A public key on P-256 for ES256 (RFC 7518 section 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    point: [u8; POINT],
    /// The end of the time in which it verifies tokens; none for the current signing key.
    pub(crate) until: Option<Timestamp>,
}

/// The length of an uncompressed point in bytes: 4, x, y.
const POINT: usize = 65;

/// A JWK (RFC 7517).
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

/// A JWK set (RFC 7517 section 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// The key is not a key for ES256.
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

    /// Its key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn point(&self) -> &[u8] {
        &self.point
    }

    /// Whether this key has made `signature` of `message`.
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

/// The valid public keys. Cheap to clone; a rotation changes all clones at once.
#[derive(Clone, Debug, Default)]
pub struct PublicKeys(Arc<RwLock<Arc<[PublicKey]>>>);

impl PublicKeys {
    /// The keys of a JWK set that was fetched from the issuer. The caller fetches it again when a token names an
    /// unknown key, and never from a URL in a token.
    ///
    /// # Errors
    /// [`BadKey`] if one of them is not for ES256.
    pub fn of(jwks: &Jwks) -> Result<Self, BadKey> {
        let keys = Self::default();
        keys.replace(jwks.keys.iter().map(PublicKey::try_from).collect::<Result<_, _>>()?);
        Ok(keys)
    }

    /// The JWK set of the keys that are valid at `now`.
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

    /// Whether there is a valid key of this `kid`.
    pub(crate) fn has(&self, kid: &str, now: Timestamp) -> bool {
        self.all().iter().any(|key| key.kid == kid && key.until.is_none_or(|until| now < until))
    }
}
