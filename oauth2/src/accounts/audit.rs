//! The audit log: what happened to accounts and tokens, for whoever has to find out later.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::ids::{ClientId, GrantId, TokenId, UserId};
use crate::clients::grant_type::GrantType;

/// One entry. Nothing in it is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: AuditEvent,
    /// About which user.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<UserId>,
    /// About which client.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<ClientId>,
    /// Who changed it, by name, if it was done through the API; otherwise the user or the client themselves did, or the
    /// platform.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<IpAddr>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditEvent {
    /// Somebody signed in.
    SignedIn,
    /// A password was wrong, or the user does not exist or is disabled: the log does not say which.
    SignInFailed {
        /// How often in a row, from there.
        in_a_row: u32,
    },
    /// Somebody signed out.
    SignedOut,
    /// A user allowed a client something.
    Allowed {
        /// The grant.
        grant: GrantId,
        /// In which way.
        how: GrantType,
    },
    /// A code was shown for the second time: somebody has a copy. The grant was revoked.
    CodeReplayed {
        /// The grant.
        grant: GrantId,
    },
    /// A refresh token was shown for the second time: somebody has a copy. The grant was revoked.
    RefreshReused {
        /// The grant.
        grant: GrantId,
    },
    /// A client, the user or an administrator took something back.
    Revoked {
        /// How many grants.
        grants: usize,
    },
    /// A client did not show its secret.
    ClientRefused,
    /// Tokens are signed with a new key.
    KeyRotated {
        /// The new key.
        kid: String,
    },
    /// A user was added.
    UserAdded,
    /// A user was changed, disabled or enabled.
    UserChanged,
    /// A user was removed.
    UserRemoved,
    /// A password was set.
    PasswordSet,
    /// A client was registered.
    ClientAdded,
    /// A client was changed, or has a new secret.
    ClientChanged,
    /// A client was removed.
    ClientRemoved,
    /// A user has an API token more.
    ApiTokenAdded {
        /// The token's id.
        token: TokenId,
    },
    /// A user has one less.
    ApiTokenRemoved {
        /// The token's id.
        token: TokenId,
    },
}
