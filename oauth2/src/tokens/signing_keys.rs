//! The key pair that signs tokens: made at the first start, replaced from time to time while the old one still verifies.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use crate::tokens::key_file::{KeyError, KeyFile, RetiredKey, WriteMode, directory_of};
use crate::tokens::public_keys::{PublicKey, PublicKeys};

/// The age at which a signing key is replaced.
pub const KEY_ROTATION_AGE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How long a replaced key still verifies: longer than the lifetime of any token.
pub const RETIRED_KEY_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// The signing key of the provider, kept in a file, and the public keys that verify its tokens.
pub struct SigningKeys {
    path: PathBuf,
    signer: Mutex<Signer>,
    public: PublicKeys,
}

struct Signer {
    pair: EcdsaKeyPair,
    public: PublicKey,
    file: KeyFile,
}

impl SigningKeys {
    /// Loads the keys from `path`, or makes a key (mode 0600) if there is no file.
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
        let signer = Signer::of(file).ok_or_else(|| KeyError::Malformed(path.to_owned()))?;
        let keys = Self { path: path.to_owned(), signer: Mutex::new(signer), public: PublicKeys::default() };
        keys.publish(&keys.lock()).ok_or_else(|| KeyError::Malformed(path.to_owned()))?;
        Ok(keys)
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

    /// Replaces the signing key and returns the `kid` of the new one. The old key verifies for another
    /// [`RETIRED_KEY_LIFETIME`]; with `keep_previous` false, which is for a key that has leaked, not at all. If another
    /// process that shares the file has rotated already, its key is loaded instead. Blocks on file input and output.
    ///
    /// # Errors
    /// [`KeyError`]; the old key stays in use.
    pub fn rotate(&self, now: Timestamp, keep_previous: bool) -> Result<String, KeyError> {
        let failed = |source| KeyError::Io { path: self.path.clone(), source };
        let mut signer = self.lock();
        // held until the end of this function: no other process rotates meanwhile
        let directory = File::open(directory_of(&self.path)).map_err(failed)?;
        directory.lock().map_err(failed)?;
        if self.reload(&mut signer)? {
            return Ok(signer.public.kid().to_owned());
        }
        let mut retired = Vec::new();
        if keep_previous {
            retired.clone_from(&signer.file.retired);
            retired.retain(|old| now < old.until);
            let until = now.saturating_add(RETIRED_KEY_LIFETIME).unwrap_or(Timestamp::MAX);
            retired.push(RetiredKey { point: STANDARD.encode(signer.public.point()), until });
        }
        let file = KeyFile::generate(now, retired).map_err(failed)?;
        file.write(&self.path, WriteMode::Replace).map_err(failed)?;
        self.adopt(&mut signer, file)?;
        Ok(signer.public.kid().to_owned())
    }

    /// Signs the message that `message` makes from the `kid` of the signing key; the message and its signature.
    pub(crate) fn sign(&self, message: impl FnOnce(&str) -> String) -> (String, Vec<u8>) {
        let signer = self.lock();
        let message = message(signer.public.kid());
        let signature = signer.pair.sign(&SystemRandom::new(), message.as_bytes());
        (message, signature.expect("a kernel that has started gives randomness").as_ref().to_vec())
    }

    /// Whether the file held another key, which `signer` then has.
    fn reload(&self, signer: &mut Signer) -> Result<bool, KeyError> {
        let file = KeyFile::read(&self.path)?;
        if file == signer.file {
            return Ok(false);
        }
        self.adopt(signer, file)?;
        Ok(true)
    }

    fn adopt(&self, signer: &mut Signer, file: KeyFile) -> Result<(), KeyError> {
        let malformed = || KeyError::Malformed(self.path.clone());
        *signer = Signer::of(file).ok_or_else(malformed)?;
        self.publish(signer).ok_or_else(malformed)
    }

    /// Makes all verifiers of this process use the keys of `signer`.
    fn publish(&self, signer: &Signer) -> Option<()> {
        let mut keys = vec![signer.public.clone()];
        for old in &signer.file.retired {
            keys.push(PublicKey::new(&STANDARD.decode(&old.point).ok()?, Some(old.until)).ok()?);
        }
        self.public.replace(keys);
        Some(())
    }

    fn lock(&self) -> MutexGuard<'_, Signer> {
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
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &SystemRandom::new())
            .ok()?;
        let public = PublicKey::new(pair.public_key().as_ref(), None).ok()?;
        Some(Self { pair, public, file })
    }
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
            keys.public()
                .jwks(at(now))
                .keys
                .iter()
                .map(|jwk| PublicKey::try_from(jwk).unwrap().kid().to_owned())
                .collect()
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
        assert_eq!((kid(&other), other.public().all().len()), (new.clone(), 2));
        let newest = other.rotate(at(2), false).unwrap();
        one.catch_up().unwrap();
        assert_eq!(
            (kid(&one), one.public().all().len()),
            (newest, 1),
            "and the one that was stolen counts no more"
        );
        fs::remove_file(&path).unwrap();
        assert!(one.catch_up().is_err());
    }
}
