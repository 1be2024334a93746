//! The private key that signs tokens: made at the first start, kept in a file that only its owner can read, and
//! replaced from time to time while its tokens go on counting.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use crate::keys::{PublicKey, PublicKeys};

/// After how long a key is replaced.
pub const ROTATE_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How long a key that has been replaced goes on verifying: longer than any token lives.
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

/// The largest key file, in bytes.
const LARGEST: u64 = 64 * 1024;

/// The key that signs, and the public keys that count.
pub struct SigningKeys {
    path: PathBuf,
    signer: Mutex<Signer>,
    public: PublicKeys,
}

struct Signer {
    pair: EcdsaKeyPair,
    public: PublicKey,
    made_at: Timestamp,
    file: KeyFile,
}

/// What the file holds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// PKCS #8, base64.
    signing: String,
    made_at: Timestamp,
    retired: Vec<Retired>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retired {
    /// The public point, base64.
    point: String,
    until: Timestamp,
}

/// Why there is no key. The operator repairs the file, or removes it: then everybody signs in again.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others may read or write it.
    #[error("the signing key {} is open to others: chmod 600", .0.display())]
    Open(PathBuf),
    /// It is not one of ours.
    #[error("{} is not a file of signing keys", .0.display())]
    Malformed(PathBuf),
    /// It cannot be read or written.
    #[error("cannot read or write the signing key {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SigningKeys {
    /// Loads the keys from `path`, or makes one (mode 0600) if there is none.
    ///
    /// # Errors
    /// [`KeyError`] if the file is not ours, or others could know it.
    pub fn load_or_create(path: &Path, now: Timestamp) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let file = match read(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let file =
                    KeyFile { signing: generate().map_err(failed)?, made_at: now, retired: Vec::new() };
                write(path, &file, Place::New).map_err(failed)?;
                read(path)?
            }
            known => known?,
        };
        let signer = Signer::of(file).ok_or_else(|| KeyError::Malformed(path.to_owned()))?;
        let keys = Self { path: path.to_owned(), signer: Mutex::new(signer), public: PublicKeys::default() };
        keys.publish(&keys.lock()).ok_or_else(|| KeyError::Malformed(path.to_owned()))?;
        Ok(keys)
    }

    /// The public keys that count, now and after every rotation.
    pub fn public(&self) -> &PublicKeys {
        &self.public
    }

    /// Whether the key is as old as a key should get.
    pub fn is_old(&self, now: Timestamp) -> bool {
        now.duration_since(self.lock().made_at) >= ROTATE_AFTER
    }

    /// Takes up the key with which another process that shares the file signs now, if it has replaced ours. Blocks while
    /// the file is read.
    ///
    /// # Errors
    /// [`KeyError`]: the key that was known goes on signing.
    pub fn catch_up(&self) -> Result<(), KeyError> {
        let mut signer = self.lock();
        self.take_up(&mut signer).map(drop)
    }

    /// Signs with a new key from now on; its name. The old one goes on verifying for [`OVERLAP`]; or not at all, if
    /// somebody may have it. If another process that shares the file has replaced it already, theirs counts. Blocks while
    /// the file is written.
    ///
    /// # Errors
    /// [`KeyError`]: the file cannot be written, and the old key goes on signing.
    pub fn rotate(&self, now: Timestamp, trust_the_old: bool) -> Result<String, KeyError> {
        let failed = |source| KeyError::Io { path: self.path.clone(), source };
        let mut signer = self.lock();
        // until this is closed, no other process rotates
        let alone = File::open(directory(&self.path)).map_err(failed)?;
        alone.lock().map_err(failed)?;
        if self.take_up(&mut signer)? {
            return Ok(signer.public.kid().to_owned());
        }
        let mut retired = Vec::new();
        if trust_the_old {
            retired.clone_from(&signer.file.retired);
            retired.retain(|old| now < old.until);
            let until = now.saturating_add(OVERLAP).unwrap_or(Timestamp::MAX);
            retired.push(Retired { point: STANDARD.encode(signer.public.point()), until });
        }
        let file = KeyFile { signing: generate().map_err(failed)?, made_at: now, retired };
        write(&self.path, &file, Place::Over).map_err(failed)?;
        *signer = Signer::of(file).ok_or_else(|| KeyError::Malformed(self.path.clone()))?;
        self.publish(&signer).ok_or_else(|| KeyError::Malformed(self.path.clone()))?;
        Ok(signer.public.kid().to_owned())
    }

    /// Whether the file holds another key than `signer` has.
    fn take_up(&self, signer: &mut Signer) -> Result<bool, KeyError> {
        let file = read(&self.path)?;
        if file == signer.file {
            return Ok(false);
        }
        *signer = Signer::of(file).ok_or_else(|| KeyError::Malformed(self.path.clone()))?;
        self.publish(signer).ok_or_else(|| KeyError::Malformed(self.path.clone()))?;
        Ok(true)
    }

    /// Signs a message that `message` makes, given the name of the key that will sign it.
    pub(crate) fn sign(&self, message: impl FnOnce(&str) -> String) -> (String, Vec<u8>) {
        let signer = self.lock();
        let message = message(signer.public.kid());
        let signature = signer.pair.sign(&SystemRandom::new(), message.as_bytes());
        (message, signature.expect("a kernel that has started gives randomness").as_ref().to_vec())
    }

    /// Makes everybody verify with what `signer` says.
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
        Some(Self { pair, public, made_at: file.made_at, file })
    }
}

fn generate() -> io::Result<String> {
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    pair.map(|pair| STANDARD.encode(pair)).map_err(|_| io::Error::other("the kernel gives no randomness"))
}

fn read(path: &Path) -> Result<KeyFile, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let malformed = || KeyError::Malformed(path.to_owned());
    // a link could lead to a file whose mode says nothing about who chose it
    if !fs::symlink_metadata(path).map_err(failed)?.is_file() {
        return Err(malformed());
    }
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(KeyError::Open(path.to_owned()));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(|_| malformed())?;
    serde_json::from_str(&text).map_err(|_| malformed())
}

/// Where a file is written.
#[derive(Clone, Copy)]
enum Place {
    /// Where there is none. If somebody else was faster, theirs counts.
    New,
    /// Over the one that is there.
    Over,
}

/// Writes the file, wholly or not at all.
fn write(path: &Path, file: &KeyFile, place: Place) -> io::Result<()> {
    let staged = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    fs::remove_file(&staged).ok();
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    let written = out.write_all(&serde_json::to_vec(file)?).and_then(|()| out.sync_all());
    let placed = written.and_then(|()| match place {
        Place::Over => fs::rename(&staged, path),
        Place::New => match fs::hard_link(&staged, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        },
    });
    // gone already if it was renamed
    fs::remove_file(&staged).ok();
    placed?;
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_key_survives_a_restart_and_is_nobody_elses() {
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
    fn a_key_that_has_been_replaced_verifies_for_a_while() {
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
        assert_eq!(kids(&keys, 300), [newest], "a key that somebody may have counts no more");
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
