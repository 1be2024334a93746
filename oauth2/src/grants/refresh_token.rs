//! Refresh tokens (RFC 6749 section 6), replaced at every use (RFC 9700 section 4.14.2).
//!
//! A refresh token has two halves, both secret. The first names the family and stays the same, the second changes at
//! each use. A token with a known family and an old second half has been used before, so it has leaked. One stored row
//! per grant is therefore enough to tell reuse from an invalid token, however often a token is renewed.
//!
//! One exception: the answer to a client's request may be lost, and then the client has the used token only. For a short
//! time it may use that token again, as long as no token that replaced it has been used. The first use of one of those
//! ends the others: so of a client and a thief who both have a token, the second one to use it is noticed, as without
//! the exception.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::random::RandomSource;

/// The prefix of every refresh token.
pub const REFRESH_PREFIX: &str = "mgx_rt_";

/// The valid refresh token of a grant, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRefreshToken {
    /// Hash of the half that stays the same.
    pub family: Digest,
    /// Hash of the half that changes.
    #[serde(rename = "turn")]
    pub current: Digest,
    /// When it expires if it is not used.
    pub expires_at: Timestamp,
    /// Hash of the thumbprint of the DPoP key that it is bound to, if any (RFC 9449 section 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// The token that it has replaced, while that may be used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedRefreshToken>,
}

/// A used refresh token, which may be used again in case the answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedRefreshToken {
    /// Hash of its half that changes.
    pub token: Digest,
    /// Hash of that half of the token in the first answer, which may have arrived after all.
    pub first_answer: Digest,
    /// The end of the time in which it may be used again.
    pub until: Timestamp,
}

impl StoredRefreshToken {
    /// Whether `token` may be used: it is the newest, or the one in the first answer to a request that was repeated.
    pub(crate) fn is_current(&self, token: &Digest) -> bool {
        let first = self.replaced.map(|replaced| replaced.first_answer);
        // both are compared, so that the time tells nothing
        self.current.is(token) | first.is_some_and(|first| first.is(token))
    }

    /// What is known of the token that this one has replaced, if `token` is it and may be used again at `now`.
    pub(crate) fn repeats(&self, token: &Digest, now: Timestamp) -> Option<ReplacedRefreshToken> {
        self.replaced.filter(|replaced| replaced.token.is(token) && now < replaced.until)
    }
}

/// A refresh token as a client holds it.
#[derive(Debug)]
pub(crate) struct RefreshToken {
    family: SecretString,
    current: SecretString,
}

impl RefreshToken {
    /// A new token of a new family.
    pub(crate) fn first(random: &RandomSource) -> Self {
        Self { family: random.text().into(), current: random.text().into() }
    }

    /// The next token of this family.
    pub(crate) fn next(&self, random: &RandomSource) -> Self {
        Self { family: self.family.clone(), current: random.text().into() }
    }

    /// Reads a token from a client; `None` if the text does not have the form of one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (family, current) = text.strip_prefix(REFRESH_PREFIX)?.split_once('.')?;
        let fits = |half: &str| half.len() == 43 && half.is_ascii();
        (fits(family) && fits(current)).then(|| Self { family: family.into(), current: current.into() })
    }

    /// The token as the client is given it.
    pub(crate) fn text(&self) -> String {
        format!("{REFRESH_PREFIX}{}.{}", self.family.expose_secret(), self.current.expose_secret())
    }

    pub(crate) fn family(&self) -> Digest {
        Digest::of(self.family.expose_secret())
    }

    pub(crate) fn current(&self) -> Digest {
        Digest::of(self.current.expose_secret())
    }

    /// The token as it is stored.
    pub(crate) fn stored(&self, expires_at: Timestamp, key: Option<Digest>) -> StoredRefreshToken {
        StoredRefreshToken { family: self.family(), current: self.current(), expires_at, key, replaced: None }
    }

    /// That this token, which is used now, may be used again until `until`, because the answer with `next` may be lost.
    pub(crate) fn replaced_by(&self, next: &Self, until: Timestamp) -> ReplacedRefreshToken {
        ReplacedRefreshToken { token: self.current(), first_answer: next.current(), until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_has_its_names() {
        let zero = Digest([0; 32]);
        let expires_at = Timestamp::UNIX_EPOCH;
        let stored =
            StoredRefreshToken { family: zero, current: zero, expires_at, key: None, replaced: None };
        let hash = "A".repeat(43);
        let json = serde_json::json!({ "family": hash, "turn": hash, "expires_at": "1970-01-01T00:00:00Z" });
        assert_eq!(serde_json::to_value(stored).unwrap(), json);
        assert_eq!(serde_json::from_value::<StoredRefreshToken>(json).unwrap(), stored);
    }
}
