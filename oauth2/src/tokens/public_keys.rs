//! Public keys, which verify tokens and are published as a JWK set (RFC 7517).

use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

use crate::base::signing_algorithm::SigningAlgorithm;
use crate::tokens::rsa_primes::EXPONENT;

/// A public key: on P-256 for ES256 (RFC 7518 section 3.4), or RSA for RS256 (section 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    numbers: Numbers,
    /// The end of the time in which it verifies tokens; none for the current signing keys.
    pub(crate) until: Option<Timestamp>,
}

/// The numbers of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Numbers {
    /// An uncompressed point.
    P256([u8; POINT]),
    /// A modulus without leading zeros. The exponent is [`EXPONENT`].
    Rsa(Vec<u8>),
}

/// The length of an uncompressed point in bytes: 4, x, y.
const POINT: usize = 65;

/// The lengths of an RSA modulus in bytes: 2048 to 4096 bits.
const MODULUS: RangeInclusive<usize> = 256..=512;

/// A JWK (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<String>,
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

/// The key is a key for neither ES256 nor RS256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key on P-256 for ES256, and no RSA key for RS256")]
pub struct BadKey;

impl PublicKey {
    /// The key with these coordinates.
    pub(crate) fn p256(point: &[u8], until: Option<Timestamp>) -> Result<Self, BadKey> {
        let point: [u8; POINT] = point.try_into().map_err(|_| BadKey)?;
        if point[0] == 4 { Ok(Self::new(Numbers::P256(point), until)) } else { Err(BadKey) }
    }

    /// The key with this modulus, which has no leading zeros.
    pub(crate) fn rsa(modulus: &[u8], until: Option<Timestamp>) -> Result<Self, BadKey> {
        let fits = MODULUS.contains(&modulus.len()) && modulus[0] != 0;
        if fits { Ok(Self::new(Numbers::Rsa(modulus.to_vec()), until)) } else { Err(BadKey) }
    }

    /// The key; its `kid` is its thumbprint (RFC 7638).
    fn new(numbers: Numbers, until: Option<Timestamp>) -> Self {
        let canonical = match &numbers {
            Numbers::P256(point) => {
                let (x, y) = coordinates(point);
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Numbers::Rsa(modulus) => {
                let (n, e) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(EXPONENT));
                format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
            }
        };
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()));
        Self { kid, numbers, until }
    }

    /// Its key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm that it is for.
    pub fn algorithm(&self) -> SigningAlgorithm {
        match self.numbers {
            Numbers::P256(_) => SigningAlgorithm::Es256,
            Numbers::Rsa(_) => SigningAlgorithm::Rs256,
        }
    }

    /// The uncompressed point or the modulus.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.numbers {
            Numbers::P256(point) => point,
            Numbers::Rsa(modulus) => modulus,
        }
    }

    /// Whether this key has made `signature` of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.numbers {
            Numbers::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Numbers::Rsa(modulus) => RsaPublicKeyComponents { n: &**modulus, e: &EXPONENT[..] }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
        }
    }

    fn jwk(&self) -> Jwk {
        let text = |text: &str| Some(text.to_owned());
        let base = Jwk {
            kty: String::new(),
            crv: None,
            x: None,
            y: None,
            n: None,
            e: None,
            kid: self.kid.clone(),
            alg: self.algorithm().name().to_owned(),
            purpose: "sig".to_owned(),
        };
        match &self.numbers {
            Numbers::P256(point) => {
                let (x, y) = coordinates(point);
                Jwk { kty: "EC".to_owned(), crv: text("P-256"), x: Some(x), y: Some(y), ..base }
            }
            Numbers::Rsa(modulus) => {
                let (n, e) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(EXPONENT));
                Jwk { kty: "RSA".to_owned(), n: Some(n), e: Some(e), ..base }
            }
        }
    }
}

impl TryFrom<&Jwk> for PublicKey {
    type Error = BadKey;

    fn try_from(jwk: &Jwk) -> Result<Self, BadKey> {
        let decode = |text: &Option<String>| {
            URL_SAFE_NO_PAD.decode(text.as_deref().ok_or(BadKey)?).map_err(|_| BadKey)
        };
        let key = match (&*jwk.kty, &*jwk.alg, &*jwk.purpose) {
            ("EC", "ES256", "sig") if jwk.crv.as_deref() == Some("P-256") => {
                Self::p256(&[&[4], &*decode(&jwk.x)?, &*decode(&jwk.y)?].concat(), None)?
            }
            ("RSA", "RS256", "sig") if decode(&jwk.e)? == EXPONENT => Self::rsa(&decode(&jwk.n)?, None)?,
            _ => return Err(BadKey),
        };
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
    /// [`BadKey`] if one of them is for another algorithm.
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
