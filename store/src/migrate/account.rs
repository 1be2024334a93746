//! A record of the OAuth 2 provider, as it is copied from one store to another.

use jiff::Timestamp;
use mgx_oauth2::{
    ApiToken, AuditEntry, AuthorizationCode, BrowserSession, Client, ClientId, Device, Grant, Scope, User,
    UserId,
};
use serde::Serialize;
use uuid::Uuid;

/// One record of the provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Account {
    /// A user, with the hash of their password.
    User(User),
    /// A client.
    Client(Client),
    /// An API token.
    ApiToken(ApiToken),
    /// The scope that a user has allowed a client.
    Consent(UserId, ClientId, Scope),
    /// A grant, with its authorization code.
    Grant(Box<Grant>, Option<AuthorizationCode>),
    /// A browser in which a user is signed in.
    Browser(BrowserSession),
    /// A device that waits for a user's approval.
    Device(Device),
    /// An access token, or the tokens of a grant, that are revoked, and until when that has to be remembered.
    Revoked(Uuid, Timestamp),
    /// An entry of the audit log, and its number.
    Audit(u64, AuditEntry),
}

/// One kind of the records of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountPart {
    /// Users.
    Users,
    /// Clients.
    Clients,
    /// API tokens.
    ApiTokens,
    /// Consents.
    Consents,
    /// Grants with their codes.
    Grants,
    /// Browsers.
    Browsers,
    /// Devices.
    Devices,
    /// Revoked tokens.
    Revoked,
    /// The audit log.
    Audit,
}

impl AccountPart {
    /// The name of its table and of its collection.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Clients => "clients",
            Self::ApiTokens => "api_tokens",
            Self::Consents => "consents",
            Self::Grants => "grants",
            Self::Browsers => "browsers",
            Self::Devices => "devices",
            Self::Revoked => "revoked_tokens",
            Self::Audit => "audit",
        }
    }
}
