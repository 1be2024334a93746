//! API tokens: long-lived tokens that a user makes for programs of their own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::{TokenId, UserId};
use crate::base::scope::Scope;

/// The prefix of every API token, by which an API distinguishes them from access tokens.
pub const API_TOKEN_PREFIX: &str = "mgx_pat_";

/// An API token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its id, which is not a secret.
    pub id: TokenId,
    /// Hash of the token.
    pub digest: Digest,
    /// The user on whose behalf it is used.
    pub user: UserId,
    /// The name that the user gave it.
    pub name: String,
    /// What it permits.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires, if ever.
    pub expires_at: Option<Timestamp>,
}
