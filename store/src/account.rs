//! One thing that the OAuth 2 provider keeps, whole: what is copied from one store to another.

use jiff::Timestamp;
use mgx_oauth2::Device;
use mgx_oauth2::{ApiToken, AuditEntry, BrowserSession, Client, ClientId, Scope, User, UserId};
use mgx_oauth2::{AuthorizationCode, Grant};
use serde::Serialize;
use uuid::Uuid;

/// One thing that the provider keeps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Account {
    /// A user, with the hash of their password.
    User(User),
    /// A client.
    Client(Client),
    /// An API token.
    ApiToken(ApiToken),
    /// What a user need not be asked again.
    Consent(UserId, ClientId, Scope),
    /// A grant, with the code that it began with.
    Grant(Box<Grant>, Option<AuthorizationCode>),
    /// A browser in which somebody is signed in.
    Browser(BrowserSession),
    /// A device that waits for somebody.
    Device(Device),
    /// An access token, or the tokens of a grant, that do not count, and until when that has to be known.
    Revoked(Uuid, Timestamp),
    /// An entry of the audit log, and its number.
    Audit(u64, AuditEntry),
}

/// One kind of them.
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
    /// Tokens that do not count.
    Revoked,
    /// The audit log.
    Audit,
}

impl AccountPart {
    /// What both stores call it.
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
