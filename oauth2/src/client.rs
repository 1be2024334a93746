//! Clients: the programs that may ask for tokens.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::ClientId;
use crate::redirect::RedirectUri;
use crate::scope::Scope;
use crate::secret::Digest;

/// A client as it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// What people are shown.
    pub name: String,
    /// Whether it can keep a secret.
    pub kind: ClientKind,
    /// Where browsers may be sent with a code.
    pub redirect_uris: Vec<RedirectUri>,
    /// Where browsers may be sent after signing out.
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// How it may ask for tokens.
    pub grants: BTreeSet<GrantType>,
    /// What it may ask for; all of it, if it asks for nothing in particular.
    pub scope: Scope,
    /// Who is to accept its access tokens (their `aud`). A generated app has an audience of its own, so that its
    /// tokens open nothing of the platform's.
    pub audience: String,
    /// One of the platform's own: nobody is asked for consent.
    pub first_party: bool,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// Whether a client can keep a secret (RFC 6749 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// A program on somebody's machine, or in a browser: it proves nothing.
    Public,
    /// A program on a server, with a secret; with two of them while one replaces the other.
    Confidential {
        /// The hashes.
        secrets: Vec<Digest>,
    },
}

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

/// What is wrong with a registration. Whoever registers the client changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadClient {
    /// It may ask in no way.
    #[error("a client has at least one grant type")]
    NoGrants,
    /// It has no redirect URI, and needs one.
    #[error("a client with authorization_code has at least one redirect URI")]
    NoRedirect,
    /// It has no secret, and needs one.
    #[error("a client with client_credentials has a secret")]
    NoSecret,
    /// It would be given passwords, and is somebody else's.
    #[error("a client with password is one of the platform's own")]
    NotOurs,
    /// Its name is empty or too long.
    #[error("a client's name has 1 to 100 characters")]
    Name,
    /// Its audience is empty or too long.
    #[error("a client's audience has 1 to 200 characters")]
    Audience,
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

impl Client {
    /// Whether it may be registered so.
    ///
    /// # Errors
    /// [`BadClient`] names what is missing.
    pub fn check(&self) -> Result<(), BadClient> {
        let has = |grant| self.grants.contains(&grant);
        let length = |text: &str| text.chars().count();
        if self.grants.is_empty() {
            Err(BadClient::NoGrants)
        } else if has(GrantType::AuthorizationCode) && self.redirect_uris.is_empty() {
            Err(BadClient::NoRedirect)
        } else if has(GrantType::ClientCredentials) && self.is_public() {
            Err(BadClient::NoSecret)
        } else if has(GrantType::Password) && !self.first_party {
            Err(BadClient::NotOurs)
        } else if !(1..=100).contains(&length(&self.name)) {
            Err(BadClient::Name)
        } else if !(1..=200).contains(&length(&self.audience)) {
            Err(BadClient::Audience)
        } else {
            Ok(())
        }
    }

    /// Whether it has no secret.
    pub fn is_public(&self) -> bool {
        match &self.kind {
            ClientKind::Public => true,
            ClientKind::Confidential { .. } => false,
        }
    }

    /// Whether `secret` is one of its secrets; takes as long whatever it is.
    pub fn proves(&self, secret: &str) -> bool {
        let given = Digest::of(secret);
        match &self.kind {
            ClientKind::Public => false,
            ClientKind::Confidential { secrets } => {
                secrets.iter().fold(false, |found, known| found | known.is(&given))
            }
        }
    }

    /// What it gets when it asks for `wanted`; `None` if that is more than it may have.
    pub fn grant_scope(&self, wanted: Option<&str>) -> Option<Scope> {
        match wanted {
            None => Some(self.scope.clone()),
            Some(text) => text.parse().ok().filter(|wanted: &Scope| wanted.is_within(&self.scope)),
        }
    }
}
