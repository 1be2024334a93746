//! Refresh tokens (RFC 6749 section 6, rotation as in RFC 9700 section 4.14.2).
//!
//! XX

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::random::RandomSource;

/// What a refresh token begins with.
pub const REFRESH_PREFIX: &str = "mgx_rt_";

/// The refresh token that counts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRefreshToken {
    /// Hash of the half that stays.
    pub family: Digest,
    /// Hash of the half that changes.
    #[serde(rename = "turn")]
    pub current: Digest,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Hash of the thumbprint of the key that it counts with, if it is bound to one (RFC 9449 section 5).
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
    /// The first one of a family.
    pub(crate) fn first(random: &RandomSource) -> Self {
        Self { family: random.text().into(), current: random.text().into() }
    }

    /// The next one of this family.
    pub(crate) fn next(&self, random: &RandomSource) -> Self {
        Self { family: self.family.clone(), current: random.text().into() }
    }

    /// What a client has sent; `None` if it cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (family, current) = text.strip_prefix(REFRESH_PREFIX)?.split_once('.')?;
        let fits = |half: &str| half.len() == 43 && half.is_ascii();
        (fits(family) && fits(current)).then(|| Self { family: family.into(), current: current.into() })
    }

    /// What the client is given.
    pub(crate) fn text(&self) -> String {
        format!("{REFRESH_PREFIX}{}.{}", self.family.expose_secret(), self.current.expose_secret())
    }

    pub(crate) fn family(&self) -> Digest {
        Digest::of(self.family.expose_secret())
    }

    pub(crate) fn current(&self) -> Digest {
        Digest::of(self.current.expose_secret())
    }

    /// What is stored of it.
    pub(crate) fn stored(&self, expires_at: Timestamp, key: Option<Digest>) -> StoredRefreshToken {
        StoredRefreshToken { family: self.family(), current: self.current(), expires_at, key }
    }
}
