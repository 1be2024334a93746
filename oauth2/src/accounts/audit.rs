//! Entries of the audit log: what happened to accounts, clients, tokens and keys.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::ids::{ClientId, GrantId, TokenId, UserId};
use crate::clients::grant_type::GrantType;

/// An entry. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: AuditEvent,
    /// The user concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<UserId>,
    /// The client concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<ClientId>,
    /// The name of the caller who made the change through the API; none if the user, the client or the platform did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// The address that the request came from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<IpAddr>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditEvent {
    /// A user signed in.
    SignedIn,
    /// A sign-in failed: wrong password, unknown user or disabled user; the log does not say which.
    SignInFailed {
        /// The number of failures in a row for this account from this address.
        in_a_row: u32,
    },
    /// A user signed out.
    SignedOut,
    /// A user authorized a client.
    Allowed {
        /// The grant.
        grant: GrantId,
        /// The grant type.
        how: GrantType,
    },
    /// An authorization code was used a second time, so it has leaked. The grant was revoked (RFC 6749 section 4.1.2).
    CodeReplayed {
        /// The grant.
        grant: GrantId,
    },
    /// A refresh token was used a second time, so it has leaked. The grant was revoked (RFC 9700 section 4.14.2).
    RefreshReused {
        /// The grant.
        grant: GrantId,
    },
    /// A client, the user or an administrator revoked grants.
    Revoked {
        /// The number of grants.
        grants: usize,
    },
    /// Client authentication failed.
    ClientRefused,
    /// The signing key was replaced.
    KeyRotated {
        /// The `kid` of the new key.
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
    /// A client was changed, or was given a new secret.
    ClientChanged,
    /// A client was removed.
    ClientRemoved,
    /// An API token was made.
    ApiTokenAdded {
        /// The token's id.
        token: TokenId,
    },
    /// An API token was removed.
    ApiTokenRemoved {
        /// The token's id.
        token: TokenId,
    },
}
