//! Grant types: how a client may ask for tokens (RFC 6749 section 1.3).

use serde::{Deserialize, Serialize};

/// How a client may ask for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// For a user in a browser, with PKCE (RFC 6749 section 4.1, RFC 7636).
    AuthorizationCode,
    /// Again, without the user (RFC 6749 section 6).
    RefreshToken,
    /// For itself (RFC 6749 section 4.4).
    ClientCredentials,
    /// For a user in another browser (RFC 8628).
    DeviceCode,
    /// With the user's name and password. RFC 9700 section 2.4 forbids it: only for a platform that moves from a
    /// program which knows nothing else, and off unless the operator says so.
    Password,
}

impl GrantType {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::ClientCredentials,
        Self::DeviceCode,
        Self::Password,
    ];

    /// The value of `grant_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::Password => "password",
        }
    }

    /// The grant type of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.name() == name)
    }
}
