//! Access tokens (RFC 9068): their claims, and what a verified one says.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::ids::{ClientId, GrantId, TokenId, UserId, Username};
use crate::base::scope::Scope;

/// The content of a verified access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// On whose behalf it is used.
    pub subject: Subject,
    /// The client that it was issued to.
    pub client: ClientId,
    /// What it permits.
    pub scope: Scope,
    /// The API that it is meant for.
    pub audience: String,
    /// Its id, the `jti`.
    pub token: TokenId,
    /// The grant that it was issued for; none for a client's own token.
    pub grant: Option<GrantId>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When the user last entered the password.
    pub auth_time: Option<Timestamp>,
    /// The user's name: with scope `profile`, and always in a token of the platform's own clients.
    pub username: Option<Username>,
    /// The user's groups: with scope `groups`, and always in a token of the platform's own clients.
    pub groups: BTreeSet<String>,
    /// Thumbprint of the DPoP key that it is bound to, if any (RFC 9449 section 6).
    pub key: Option<String>,
}

/// The `sub` of an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user.
    User(UserId),
    /// The client itself (RFC 9068 section 2.2).
    Client,
}

/// The claims of an access token, as they are signed (RFC 9068 section 2.2).
#[derive(Serialize, Deserialize)]
pub(crate) struct AccessTokenClaims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) client_id: ClientId,
    pub(crate) scope: Scope,
    pub(crate) jti: TokenId,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gid: Option<GrantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auth_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preferred_username: Option<Username>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) groups: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cnf: Option<Confirmation>,
}

/// The `cnf` claim (RFC 7800): the key that a token is bound to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Confirmation {
    pub(crate) jkt: String,
}
