//! Clients: the programs that may ask for tokens.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::ClientId;
use crate::base::scope::Scope;
use crate::clients::grant_type::GrantType;
use crate::clients::redirect_uri::RedirectUri;

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
