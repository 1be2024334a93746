//! The source of randomness, and the secrets made from it: 256 random bits each, of which only the hash is stored.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;
use uuid::{Builder, Uuid};

use crate::base::digest::Digest;

/// A source of random bytes: the kernel, or a known sequence in a test. Cheap to clone.
#[derive(Clone)]
pub struct RandomSource(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl RandomSource {
    /// The random number generator of the kernel.
    pub fn system() -> Self {
        let random = SystemRandom::new();
        Self::new(move |bytes| random.fill(bytes).expect("a kernel that has started gives randomness"))
    }

    /// A source that `fill` implements.
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// A random UUID (RFC 9562, version 4).
    pub fn id(&self) -> Uuid {
        Builder::from_random_bytes(self.bytes()).into_uuid()
    }

    /// 256 random bits as 43 characters of base64url.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// A new secret and its hash. `prefix` lets secret scanners recognise a leaked one.
    pub fn secret(&self, prefix: &str) -> (SecretString, Digest) {
        let text = format!("{prefix}{}", self.text());
        let digest = Digest::of(&text);
        (text.into(), digest)
    }
}

impl fmt::Debug for RandomSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RandomSource")
    }
}
