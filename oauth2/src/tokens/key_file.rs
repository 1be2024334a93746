//! The file that holds the signing keys: made, read and replaced, readable by its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::{Deserialize, Serialize};

use crate::base::signing_algorithm::SigningAlgorithm;
use crate::tokens::public_keys::PublicKey;
use crate::tokens::rsa_primes::RsaPrimes;

/// Why there is no signing key. The operator repairs the file or removes it; without it all users sign in again.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file's mode lets other users of the host read or write it.
    #[error("the signing key {} is open to others: chmod 600", .0.display())]
    Open(PathBuf),
    /// The file is not a regular file, or does not hold signing keys.
    #[error("{} is not a file of signing keys", .0.display())]
    Malformed(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot read or write the signing key {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// The content of the file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    /// The private key for ES256: PKCS #8, base64.
    pub(super) signing: String,
    /// The primes of the private key for RS256, base64. None in a file of a version that had no such key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rsa: Option<String>,
    pub(super) made_at: Timestamp,
    /// Replaced keys that still verify.
    pub(super) retired: Vec<RetiredKey>,
}

/// A replaced key.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum RetiredKey {
    /// For ES256.
    P256 {
        /// The public point, uncompressed, base64.
        point: String,
        /// The end of the time in which the key verifies.
        until: Timestamp,
    },
    /// For RS256.
    Rsa {
        /// The modulus, base64.
        modulus: String,
        /// The end of the time in which the key verifies.
        until: Timestamp,
    },
}

impl RetiredKey {
    /// The public key, which verifies until its end.
    pub(super) fn public(&self) -> Option<PublicKey> {
        let decode = |text: &str| STANDARD.decode(text).ok();
        match self {
            Self::P256 { point, until } => PublicKey::p256(&decode(point)?, Some(*until)).ok(),
            Self::Rsa { modulus, until } => PublicKey::rsa(&decode(modulus)?, Some(*until)).ok(),
        }
    }

    /// A key that is replaced, and verifies until `until`.
    pub(super) fn of(key: &PublicKey, until: Timestamp) -> Self {
        let bytes = STANDARD.encode(key.bytes());
        match key.algorithm() {
            SigningAlgorithm::Es256 => Self::P256 { point: bytes, until },
            SigningAlgorithm::Rs256 => Self::Rsa { modulus: bytes, until },
        }
    }

    /// The end of the time in which the key verifies.
    pub(super) fn until(&self) -> Timestamp {
        match self {
            Self::P256 { until, .. } | Self::Rsa { until, .. } => *until,
        }
    }
}

/// How a file is put in place.
#[derive(Clone, Copy)]
pub(super) enum WriteMode {
    /// Only where there is none. If another process has created it meanwhile, that file stays.
    Create,
    /// In place of the one that is there.
    Replace,
}

/// The largest key file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

impl KeyFile {
    /// New key pairs, with `retired` to be kept beside them. Takes about half a second.
    pub(super) fn generate(made_at: Timestamp, retired: Vec<RetiredKey>) -> io::Result<Self> {
        Self::with_rsa(Self::new_rsa(), made_at, retired)
    }

    /// A new key pair for ES256 beside the RSA key `rsa`.
    pub(super) fn with_rsa(rsa: String, made_at: Timestamp, retired: Vec<RetiredKey>) -> io::Result<Self> {
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| io::Error::other("the kernel gives no randomness"))?;
        Ok(Self { signing: STANDARD.encode(pair), rsa: Some(rsa), made_at, retired })
    }

    /// A new RSA key. Takes about half a second.
    pub(super) fn new_rsa() -> String {
        STANDARD.encode(RsaPrimes::generate().bytes())
    }

    pub(super) fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let malformed = || KeyError::Malformed(path.to_owned());
        // a symbolic link could lead to a file whose mode says nothing about who chose its content
        if !fs::symlink_metadata(path).map_err(failed)?.is_file() {
            return Err(malformed());
        }
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            return Err(KeyError::Open(path.to_owned()));
        }
        let mut text = String::new();
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(|_| malformed())?;
        serde_json::from_str(&text).map_err(|_| malformed())
    }

    /// Writes the file atomically and durably, with mode 0600.
    pub(super) fn write(&self, path: &Path, mode: WriteMode) -> io::Result<()> {
        let staged = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
        fs::remove_file(&staged).ok();
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
        let written = out.write_all(&serde_json::to_vec(self)?).and_then(|()| out.sync_all());
        let placed = written.and_then(|()| match mode {
            WriteMode::Replace => fs::rename(&staged, path),
            WriteMode::Create => match fs::hard_link(&staged, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            },
        });
        // after a rename there is nothing left to remove
        fs::remove_file(&staged).ok();
        placed?;
        File::open(directory_of(path))?.sync_all()
    }
}

/// The directory of the file at `path`.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
