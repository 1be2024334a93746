//! Grant types: how a client may ask for tokens (RFC 6749 section 1.3).

use serde::{Deserialize, Serialize};

/// A grant type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// A user in a browser, with PKCE (RFC 6749 section 4.1, RFC 7636).
    AuthorizationCode,
    /// A refresh token (RFC 6749 section 6).
    RefreshToken,
    /// The client itself (RFC 6749 section 4.4).
    ClientCredentials,
    /// A user in a browser on another device (RFC 8628).
    DeviceCode,
    /// The user's name and password (RFC 6749 section 4.3). RFC 9700 section 2.4 forbids it: only for a platform that
    /// migrates from a program which supports nothing else, and off unless the operator enables it.
    Password,
}

impl GrantType {
    /// All grant types.
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
