//! Authorization codes (RFC 6749 section 4.1.2): what is stored of them, and how one is redeemed once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::GrantId;
use crate::grants::grant::Grant;

/// A stored authorization code, valid once, for at most a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationCode {
    /// Hash of the code.
    pub digest: Digest,
    /// The grant that it was issued for.
    pub grant: GrantId,
    /// The redirect URI of the authorization request, verbatim.
    pub redirect_uri: String,
    /// PKCE: base64url of SHA-256 of the verifier (RFC 7636 section 4.2).
    pub challenge: String,
    /// The `nonce` of the authorization request, for the id token.
    pub nonce: Option<String>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Whether it has been redeemed.
    pub used: bool,
}

/// The result of redeeming a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeRedemption {
    /// It was valid, and is used up.
    First(AuthorizationCode, Grant),
    /// It was used before; its grant has been revoked.
    Replayed(Grant),
    /// There is no such code, or it has expired, or its grant is no longer valid.
    Unknown,
}

impl AuthorizationCode {
    /// Redeems the code. A storage calls this in the transaction that writes code and grant back.
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
