//! Attempt tokens: what a container shows instead of a key, good for one attempt at one job and nothing else.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mgx_protocol::{Attempt, JobId};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;
use secrecy::SecretString;
use uuid::Uuid;

use crate::beneath;
use crate::file::FileError;
use crate::staged::write_once;

/// What every token begins with, so that one that leaks is recognised.
pub const PREFIX: &str = "mgx_at_";

const KEY_BYTES: usize = 32;
const CLAIM_BYTES: usize = 16 + 4;
const TAG_BYTES: usize = 32;
/// Said before every claim, so that no signature of this key means anything else.
const PURPOSE: &[u8] = b"mgx attempt token, version 1\0";

/// Mints and verifies attempt tokens. They are HMAC-SHA256 (RFC 2104) over job and attempt, so they outlive a
/// restart and are stored nowhere; whether the attempt still runs is for the scheduler to say.
#[derive(Clone)]
pub struct AttemptTokens {
    key: hmac::Key,
}

/// Why there is no key for the tokens. The operator repairs the file, or removes it: running agents then lose
/// their access, and nothing else happens.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// Others may read or write it.
    #[error("the token key is open to others: chmod 600")]
    Open,
    /// It is not a key.
    #[error("the token key is not a regular file of {KEY_BYTES} bytes")]
    Malformed,
    /// It cannot be read or made.
    #[error("cannot read or make the token key: {0}")]
    Io(#[from] io::Error),
}

impl AttemptTokens {
    /// Loads the key from `path`, or makes one (mode 0600) if there is none. Two processes that begin at once
    /// end with the same key.
    ///
    /// # Errors
    /// [`TokenKeyError`] if the file is not a key, or others could know it.
    pub fn load_or_create(path: &Path) -> Result<Self, TokenKeyError> {
        key(path).map(|key| Self::with_key(&key))
    }

    /// The tokens of a key that the caller has.
    pub fn with_key(key: &[u8; KEY_BYTES]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The token of an attempt; always the same one.
    pub fn mint(&self, job: JobId, attempt: Attempt) -> SecretString {
        let claim = claim(job, attempt);
        let tag = hmac::sign(&self.key, &[PURPOSE, &claim].concat());
        let body = URL_SAFE_NO_PAD.encode([&claim, tag.as_ref()].concat());
        SecretString::from(format!("{PREFIX}{body}"))
    }

    /// Whose token it is, if it is one of ours. Takes as long for a wrong one as for a right one.
    pub fn verify(&self, token: &str) -> Option<(JobId, Attempt)> {
        let body = token.strip_prefix(PREFIX)?;
        let mut bytes = [0; CLAIM_BYTES + TAG_BYTES];
        if URL_SAFE_NO_PAD.decode_slice(body, &mut bytes).ok()? != bytes.len() {
            return None;
        }
        let (claim, tag) = bytes.split_at(CLAIM_BYTES);
        hmac::verify(&self.key, &[PURPOSE, claim].concat(), tag).ok()?;
        let (job, attempt) = claim.split_first_chunk::<16>()?;
        Some((JobId(Uuid::from_bytes(*job)), Attempt(u32::from_be_bytes(attempt.try_into().ok()?))))
    }
}

impl fmt::Debug for AttemptTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptTokens").finish_non_exhaustive()
    }
}

fn claim(job: JobId, attempt: Attempt) -> [u8; CLAIM_BYTES] {
    let mut claim = [0; CLAIM_BYTES];
    claim[..16].copy_from_slice(job.0.as_bytes());
    claim[16..].copy_from_slice(&attempt.0.to_be_bytes());
    claim
}

/// Reads a key, or makes one if there is none.
pub(crate) fn key(path: &Path) -> Result<[u8; KEY_BYTES], TokenKeyError> {
    match read_key(path) {
        Err(TokenKeyError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            make_key(path)?;
            read_key(path)
        }
        known => known,
    }
}

fn read_key(path: &Path) -> Result<[u8; KEY_BYTES], TokenKeyError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(TokenKeyError::Malformed),
        opened => opened.map_err(io::Error::from)?,
    };
    let stat = fstat(&file).map_err(io::Error::from)?;
    if beneath::kind(&stat) != rustix::fs::FileType::RegularFile {
        return Err(TokenKeyError::Malformed);
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(TokenKeyError::Open);
    }
    let mut bytes = Vec::new();
    File::from(file).take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    bytes.try_into().map_err(|_| TokenKeyError::Malformed)
}

/// Makes a key, unless somebody else is faster.
fn make_key(path: &Path) -> Result<(), TokenKeyError> {
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("the kernel gives no randomness"))?;
    let name = path.file_name().and_then(OsStr::to_str).ok_or(TokenKeyError::Malformed)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    write_once(dir.map_err(io::Error::from)?, name, &key).map_err(|error| match error {
        FileError::Io(error) => error.into(),
        other => TokenKeyError::Io(io::Error::other(other)),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_names_its_attempt_and_nothing_else_does() {
        let tokens = AttemptTokens::with_key(&[7; 32]);
        let (job, attempt) = (JobId::new(), Attempt(3));
        let token = tokens.mint(job, attempt);
        let text = token.expose_secret();
        assert!(text.starts_with(PREFIX) && text.len() == PREFIX.len() + 70, "{text}");
        assert_eq!(tokens.verify(text), Some((job, attempt)));
        assert_eq!(AttemptTokens::with_key(&[8; 32]).verify(text), None);
        for at in 0..text.len() {
            let mut forged = text.as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens.verify(std::str::from_utf8(&forged).unwrap()), None, "changed at {at}");
        }
        for wrong in ["", PREFIX, "sk-123", &text[..text.len() - 1], &format!("{text}A"), &format!(" {text}")]
        {
            assert_eq!(tokens.verify(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_key_survives_a_restart_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token.key");
        let token = AttemptTokens::load_or_create(&path).unwrap().mint(JobId::new(), Attempt(1));
        assert!(AttemptTokens::load_or_create(&path).unwrap().verify(token.expose_secret()).is_some());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the key");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(AttemptTokens::load_or_create(&path), Err(TokenKeyError::Open)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(matches!(AttemptTokens::load_or_create(&path), Err(TokenKeyError::Malformed)));
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(AttemptTokens::load_or_create(&path), Err(TokenKeyError::Malformed)));
    }

    #[test]
    fn processes_that_begin_at_once_agree_on_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token.key");
        let tokens: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| AttemptTokens::load_or_create(&path).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        let token = tokens[0].mint(JobId::new(), Attempt(1));
        assert!(tokens.iter().all(|tokens| tokens.verify(token.expose_secret()).is_some()));
    }
}
