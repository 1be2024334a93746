//! Access tokens (RFC 9068): their claims, and what a verified one says.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::ids::{ClientId, GrantId, TokenId, UserId, Username};
use crate::base::scope::Scope;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// On whose behalf.
    pub subject: Subject,
    /// Which client it was given to.
    pub client: ClientId,
    /// What it is good for.
    pub scope: Scope,
    /// Who is to accept it.
    pub audience: String,
    /// Its own id.
    pub token: TokenId,
    /// What it came of.
    pub grant: Option<GrantId>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When the user showed who they are.
    pub auth_time: Option<Timestamp>,
    /// The user's name: with scope `profile`, and always in a token of the platform's own clients.
    pub username: Option<Username>,
    /// The user's groups: with scope `groups`, and always in a token of the platform's own clients.
    pub groups: BTreeSet<String>,
    /// Thumbprint of the key without which it does not count (RFC 9449 section 6).
    pub key: Option<String>,
}

/// On whose behalf a token speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user's.
    User(UserId),
    /// The client's own.
    Client,
}

/// The claims of an access token, as they are signed.
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

/// The key that a token is bound to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Confirmation {
    pub(crate) jkt: String,
}
