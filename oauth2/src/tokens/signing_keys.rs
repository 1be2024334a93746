//! The key pairs that sign tokens: made at the first start, replaced from time to time while the old ones still verify.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};

use crate::base::signing_algorithm::SigningAlgorithm;
use crate::tokens::key_file::{KeyError, KeyFile, RetiredKey, WriteMode, directory_of};
use crate::tokens::public_keys::{PublicKey, PublicKeys};
use crate::tokens::rsa_primes::RsaPrimes;

/// The age at which a signing key is replaced.
pub const KEY_ROTATION_AGE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How long a replaced key still verifies: longer than the lifetime of any token.
pub const RETIRED_KEY_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// The signing keys of the provider, one for each algorithm, kept in a file; and the public keys that verify its tokens.
pub struct SigningKeys {
    path: PathBuf,
    signer: Mutex<Arc<Signer>>,
    public: PublicKeys,
}

struct Signer {
    p256: EcdsaKeyPair,
    p256_public: PublicKey,
    rsa: KeyPair,
    rsa_public: PublicKey,
    file: KeyFile,
}

impl SigningKeys {
    /// Loads the keys from `path`, or makes them (mode 0600) if there is no file. Making an RSA key takes about half a
    /// second.
    ///
    /// # Errors
    /// [`KeyError`] if the file cannot be read or made, holds something else, or is accessible to other users.
    pub fn load_or_create(path: &Path, now: Timestamp) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let file = match KeyFile::read(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let file = KeyFile::generate(now, Vec::new()).map_err(failed)?;
                file.write(path, WriteMode::Create).map_err(failed)?;
                KeyFile::read(path)?
            }
            read => read?,
        };
        let file = if file.rsa.is_none() { add_rsa(path)? } else { file };
        let signer = Arc::new(Signer::of(file).ok_or_else(|| KeyError::Malformed(path.to_owned()))?);
        let keys = Self { path: path.to_owned(), signer: Mutex::new(signer), public: PublicKeys::default() };
        keys.publish(&keys.lock()).ok_or_else(|| KeyError::Malformed(path.to_owned()))?;
        Ok(keys)
    }

    /// [`Self::load_or_create`] with an RSA key that the source text contains, because making one takes half a second.
    ///
    /// # Errors
    /// [`KeyError`].
    #[cfg(feature = "testing")]
    pub fn for_tests(path: &Path, now: Timestamp) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        if !path.exists() {
            let rsa = include_str!("rsa_primes_for_tests.txt").trim().to_owned();
            let file = KeyFile::with_rsa(rsa, now, Vec::new()).map_err(failed)?;
            file.write(path, WriteMode::Create).map_err(failed)?;
        }
        Self::load_or_create(path, now)
    }

    /// The public keys that verify tokens; a rotation changes them in place.
    pub fn public(&self) -> &PublicKeys {
        &self.public
    }

    /// Whether the signing key has reached [`KEY_ROTATION_AGE`].
    pub fn is_old(&self, now: Timestamp) -> bool {
        now.duration_since(self.lock().file.made_at) >= KEY_ROTATION_AGE
    }

    /// Loads the file again if another process that shares it has rotated the key. Blocks on file input.
    ///
    /// # Errors
    /// [`KeyError`]; the present key stays in use.
    pub fn catch_up(&self) -> Result<(), KeyError> {
        let mut signer = self.lock();
        self.reload(&mut signer).map(drop)
    }

    /// Replaces the signing keys and returns the `kid` of the new one for ES256. The old keys verify for another
    /// [`RETIRED_KEY_LIFETIME`]; with `keep_previous` false, which is for a key that has leaked, not at all. If another
    /// process that shares the file has rotated already, its keys are loaded instead. Blocks for about half a second.
    ///
    /// # Errors
    /// [`KeyError`]; the old keys stay in use.
    pub fn rotate(&self, now: Timestamp, keep_previous: bool) -> Result<String, KeyError> {
        let failed = |source| KeyError::Io { path: self.path.clone(), source };
        // held until the end of this function: neither another process nor another thread rotates meanwhile
        let _locked = lock_directory(&self.path).map_err(failed)?;
        let mut retired = Vec::new();
        {
            let mut signer = self.lock();
            if self.reload(&mut signer)? {
                return Ok(signer.p256_public.kid().to_owned());
            }
            if keep_previous {
                retired.clone_from(&signer.file.retired);
                retired.retain(|old| now < old.until());
                let until = now.saturating_add(RETIRED_KEY_LIFETIME).unwrap_or(Timestamp::MAX);
                retired
                    .extend([&signer.p256_public, &signer.rsa_public].map(|key| RetiredKey::of(key, until)));
            }
        }
        // not under the lock, because tokens are signed meanwhile
        let file = KeyFile::generate(now, retired).map_err(failed)?;
        file.write(&self.path, WriteMode::Replace).map_err(failed)?;
        let mut signer = self.lock();
        self.adopt(&mut signer, file)?;
        Ok(signer.p256_public.kid().to_owned())
    }

    /// Signs the message that `message` makes from the `kid` of the key for `algorithm`; the message and its signature.
    pub(crate) fn sign(
        &self,
        algorithm: SigningAlgorithm,
        message: impl FnOnce(&str) -> String,
    ) -> (String, Vec<u8>) {
        let signer = Arc::clone(&self.lock());
        let random = SystemRandom::new();
        let (message, signature) = match algorithm {
            SigningAlgorithm::Es256 => {
                let message = message(signer.p256_public.kid());
                let signature = signer.p256.sign(&random, message.as_bytes());
                (message, signature.map(|signature| signature.as_ref().to_vec()))
            }
            SigningAlgorithm::Rs256 => {
                let message = message(signer.rsa_public.kid());
                let mut signature = vec![0; signer.rsa.public().modulus_len()];
                let done = signer.rsa.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature);
                (message, done.map(|()| signature))
            }
        };
        (message, signature.expect("a kernel that has started gives randomness"))
    }

    /// Whether the file held other keys, which `signer` then has.
    fn reload(&self, signer: &mut Arc<Signer>) -> Result<bool, KeyError> {
        let file = KeyFile::read(&self.path)?;
        if file == signer.file {
            return Ok(false);
        }
        self.adopt(signer, file)?;
        Ok(true)
    }

    fn adopt(&self, signer: &mut Arc<Signer>, file: KeyFile) -> Result<(), KeyError> {
        let malformed = || KeyError::Malformed(self.path.clone());
        *signer = Arc::new(Signer::of(file).ok_or_else(malformed)?);
        self.publish(signer).ok_or_else(malformed)
    }

    /// Makes all verifiers of this process use the keys of `signer`.
    fn publish(&self, signer: &Signer) -> Option<()> {
        let mut keys = vec![signer.p256_public.clone(), signer.rsa_public.clone()];
        for old in &signer.file.retired {
            keys.push(old.public()?);
        }
        self.public.replace(keys);
        Some(())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Signer>> {
        self.signer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Signer {
    fn of(file: KeyFile) -> Option<Self> {
        let private = STANDARD.decode(&file.signing).ok()?;
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &SystemRandom::new())
            .ok()?;
        let p256_public = PublicKey::p256(p256.public_key().as_ref(), None).ok()?;
        let rsa = RsaPrimes::of_bytes(&STANDARD.decode(file.rsa.as_deref()?).ok()?)?.key_pair()?;
        let numbers = PublicKeyComponents::<Vec<u8>>::from(rsa.public());
        let rsa_public = PublicKey::rsa(&numbers.n, None).ok()?;
        Some(Self { p256, p256_public, rsa, rsa_public, file })
    }
}

/// Adds an RSA key to the file of a version that had none, unless another process has done it meanwhile.
fn add_rsa(path: &Path) -> Result<KeyFile, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let _locked = lock_directory(path).map_err(failed)?;
    let file = KeyFile::read(path)?;
    if file.rsa.is_some() {
        return Ok(file);
    }
    let file = KeyFile { rsa: Some(KeyFile::new_rsa()), ..file };
    file.write(path, WriteMode::Replace).map_err(failed)?;
    Ok(file)
}

/// Locks the directory of the file at `path` until the result is dropped.
fn lock_directory(path: &Path) -> io::Result<File> {
    let directory = File::open(directory_of(path))?;
    directory.lock()?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_key_survives_a_restart_and_is_refused_if_others_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signing.key");
        let jwks = SigningKeys::load_or_create(&path, at(0)).unwrap().public().jwks(at(0));
        assert_eq!(SigningKeys::load_or_create(&path, at(9)).unwrap().public().jwks(at(9)), jwks);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the key");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(SigningKeys::load_or_create(&path, at(0)), Err(KeyError::Open(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "{}").unwrap();
        assert!(matches!(SigningKeys::load_or_create(&path, at(0)), Err(KeyError::Malformed(_))));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(SigningKeys::load_or_create(&path, at(0)), Err(KeyError::Malformed(_))));
    }

    #[test]
    fn a_replaced_key_verifies_for_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signing.key");
        let keys = SigningKeys::load_or_create(&path, at(0)).unwrap();
        let old = keys.public().all()[0].kid().to_owned();
        assert!(!keys.is_old(at(90 * 86_400 - 1)) && keys.is_old(at(90 * 86_400)));
        let new = keys.rotate(at(100), true).unwrap();
        let kids = |keys: &SigningKeys, now| -> Vec<String> {
            let keys = keys.public().jwks(at(now)).keys;
            let keys = keys.iter().map(|jwk| PublicKey::try_from(jwk).unwrap());
            let (p256, rsa): (Vec<_>, Vec<_>) =
                keys.partition(|key| key.algorithm() == SigningAlgorithm::Es256);
            assert_eq!(p256.len(), rsa.len(), "both are replaced");
            p256.iter().map(|key| key.kid().to_owned()).collect()
        };
        assert_eq!(kids(&keys, 3699), [new.clone(), old.clone()]);
        assert_eq!(kids(&keys, 3700), std::slice::from_ref(&new));
        let again = SigningKeys::load_or_create(&path, at(200)).unwrap();
        assert_eq!(kids(&again, 3699), [new.clone(), old], "a restart keeps the overlap");
        let newest = keys.rotate(at(300), false).unwrap();
        assert_eq!(kids(&keys, 300), [newest], "a leaked key does not verify");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn processes_that_share_the_file_sign_with_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signing.key");
        let [one, other] = [(); 2].map(|()| SigningKeys::load_or_create(&path, at(0)).unwrap());
        let kid = |keys: &SigningKeys| keys.public().all()[0].kid().to_owned();
        let old = kid(&one);
        let new = one.rotate(at(1), true).unwrap();
        assert_eq!(kid(&other), old);
        assert_eq!(other.rotate(at(1), true).unwrap(), new, "it was replaced already");
        assert_eq!((kid(&other), other.public().all().len()), (new.clone(), 4));
        let newest = other.rotate(at(2), false).unwrap();
        one.catch_up().unwrap();
        assert_eq!(
            (kid(&one), one.public().all().len()),
            (newest, 2),
            "and the one that was stolen counts no more"
        );
        fs::remove_file(&path).unwrap();
        assert!(one.catch_up().is_err());
    }
}
