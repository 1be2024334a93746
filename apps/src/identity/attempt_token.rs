//! Attempt tokens: what an agent shows to the LLM proxy instead of a key, valid for one attempt at one job.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mgx_protocol::{Attempt, JobId};
use ring::hmac;
use secrecy::SecretString;
use uuid::Uuid;

use crate::identity::key_file::{KEY_BYTES, TokenKeyError, load_or_create};

/// The prefix of every token, by which scanners recognise one that leaked.
const PREFIX: &str = "mgx_at_";

const ATTEMPT_BYTES: usize = 16 + 4;
const TAG_BYTES: usize = 32;
/// Signed before every attempt, so that a signature for another purpose is never valid here.
const PURPOSE: &[u8] = b"mgx attempt token, version 1\0";

/// Mints and verifies attempt tokens. They are HMAC-SHA256 (RFC 2104) over job and attempt, so they stay
/// valid across a restart and are stored nowhere. Whether the attempt still runs, the scheduler knows.
#[derive(Clone)]
pub struct AttemptTokens {
    key: hmac::Key,
}

impl AttemptTokens {
    /// Loads the key from `path`, or creates one (mode 0600) if there is none. Two processes that start at once get the
    /// same key.
    ///
    /// # Errors
    /// [`TokenKeyError`] if the file is not a key, or other users of the host may read it.
    pub fn load_or_create(path: &Path) -> Result<Self, TokenKeyError> {
        load_or_create(path).map(|key| Self::with_key(&key))
    }

    /// The tokens of a given key.
    pub fn with_key(key: &[u8; KEY_BYTES]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The token of an attempt: always the same one.
    pub fn mint(&self, job: JobId, attempt: Attempt) -> SecretString {
        let attempt = encode(job, attempt);
        let tag = hmac::sign(&self.key, &[PURPOSE, &attempt].concat());
        let body = URL_SAFE_NO_PAD.encode([&attempt, tag.as_ref()].concat());
        SecretString::from(format!("{PREFIX}{body}"))
    }

    /// The attempt that a token belongs to, if the token is valid. Takes as long for a wrong signature as for a right one.
    pub fn verify(&self, token: &str) -> Option<(JobId, Attempt)> {
        let body = token.strip_prefix(PREFIX)?;
        let mut bytes = [0; ATTEMPT_BYTES + TAG_BYTES];
        if URL_SAFE_NO_PAD.decode_slice(body, &mut bytes).ok()? != bytes.len() {
            return None;
        }
        let (signed, tag) = bytes.split_at(ATTEMPT_BYTES);
        hmac::verify(&self.key, &[PURPOSE, signed].concat(), tag).ok()?;
        let (job, attempt) = signed.split_first_chunk::<16>()?;
        Some((JobId(Uuid::from_bytes(*job)), Attempt(u32::from_be_bytes(attempt.try_into().ok()?))))
    }
}

impl fmt::Debug for AttemptTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptTokens").finish_non_exhaustive()
    }
}

fn encode(job: JobId, attempt: Attempt) -> [u8; ATTEMPT_BYTES] {
    let mut bytes = [0; ATTEMPT_BYTES];
    bytes[..16].copy_from_slice(job.0.as_bytes());
    bytes[16..].copy_from_slice(&attempt.0.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
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
}
