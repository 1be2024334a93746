//! Refresh tokens (RFC 6749 section 6), replaced at every use (RFC 9700 section 4.14.2).
//!
//! A refresh token has two halves, both secret. The first names the family and stays the same, the second changes at
//! each use. A token with a known family and an old second half has been used before, so it has leaked. One stored row
//! per grant is therefore enough to tell reuse from an invalid token, however often a token is renewed.

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
        StoredRefreshToken { family: self.family(), current: self.current(), expires_at, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_has_its_names() {
        let zero = Digest([0; 32]);
        let expires_at = Timestamp::UNIX_EPOCH;
        let stored = StoredRefreshToken { family: zero, current: zero, expires_at, key: None };
        let hash = "A".repeat(43);
        let json = serde_json::json!({ "family": hash, "turn": hash, "expires_at": "1970-01-01T00:00:00Z" });
        assert_eq!(serde_json::to_value(stored).unwrap(), json);
        assert_eq!(serde_json::from_value::<StoredRefreshToken>(json).unwrap(), stored);
    }
}
