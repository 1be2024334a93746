//! Secrets that we hand out and do not keep: 256 random bits each, stored as their hash.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;
use uuid::{Builder, Uuid};

use crate::base::digest::Digest;

/// Where random bytes come from: the kernel, or in a test a known sequence. Cheap to clone.
#[derive(Clone)]
pub struct RandomSource(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl RandomSource {
    /// The kernel's randomness.
    pub fn system() -> Self {
        let random = SystemRandom::new();
        Self::new(move |bytes| random.fill(bytes).expect("a kernel that has started gives randomness"))
    }

    /// Bytes from `fill`.
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// So many random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// A random id (RFC 9562, version 4).
    pub fn id(&self) -> Uuid {
        Builder::from_random_bytes(self.bytes()).into_uuid()
    }

    /// 256 random bits as 43 characters.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// A new secret that begins with `prefix`, so that one that leaks is recognised, and what is stored of it.
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
