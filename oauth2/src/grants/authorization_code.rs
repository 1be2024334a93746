//! Authorization codes (RFC 6749 section 4.1.2): what is stored of them, and how one is redeemed once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::GrantId;
use crate::grants::grant::Grant;

/// An authorization code: good once, for a minute at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationCode {
    /// Hash of the code.
    pub digest: Digest,
    /// What it says.
    pub grant: GrantId,
    /// The redirect URI of the request, as it was given.
    pub redirect_uri: String,
    /// PKCE: base64url of SHA-256 of the verifier (RFC 7636 section 4.2).
    pub challenge: String,
    /// For the id token.
    pub nonce: Option<String>,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Whether it has been.
    pub used: bool,
}

/// What came of showing a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeRedemption {
    /// It counts, and never again.
    First(AuthorizationCode, Grant),
    /// It was used before: its grant has been revoked.
    Replayed(Grant),
    /// There is no such code any more.
    Unknown,
}

impl AuthorizationCode {
    /// Shows the code: a store calls this in the transaction in which it writes both back.
    pub fn redeem(&mut self, grant: &mut Grant, now: Timestamp) -> CodeRedemption {
        if self.used {
            grant.revoke(now);
            return CodeRedemption::Replayed(grant.clone());
        }
        if now >= self.expires_at || !grant.is_live(now) {
            return CodeRedemption::Unknown;
        }
        self.used = true;
        CodeRedemption::First(self.clone(), grant.clone())
    }
}
