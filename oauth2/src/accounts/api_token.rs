//! API tokens as they are stored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::{TokenId, UserId};
use crate::base::scope::Scope;

/// What every API token begins with: an API tells them from access tokens by it.
pub const API_TOKEN_PREFIX: &str = "mgx_pat_";

/// An API token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its id. No secret.
    pub id: TokenId,
    /// Hash of the token.
    pub digest: Digest,
    /// Whose it is.
    pub user: UserId,
    /// What they call it.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if it does by itself.
    pub expires_at: Option<Timestamp>,
}
