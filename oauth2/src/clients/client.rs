//! Clients (RFC 6749 section 2): the programs that may request tokens.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::ClientId;
use crate::base::scope::Scope;
use crate::base::signing_algorithm::SigningAlgorithm;
use crate::clients::grant_type::GrantType;
use crate::clients::redirect_uri::RedirectUri;

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// The name shown to users.
    pub name: String,
    /// Whether it has a secret.
    pub kind: ClientKind,
    /// Where browsers may be sent with a code.
    pub redirect_uris: Vec<RedirectUri>,
    /// Where browsers may be sent after signing out.
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// The grant types that it may use.
    pub grants: BTreeSet<GrantType>,
    /// The scope that it may request, and that it is granted if a request names none.
    pub scope: Scope,
    /// The audience of its access tokens (`aud`). A generated app has an audience of its own, so that the platform
    /// does not accept the app's tokens.
    pub audience: String,
    /// The algorithm that its id tokens are signed with.
    #[serde(rename = "id_token_signed_response_alg", default = "SigningAlgorithm::before_rs256")]
    pub id_token_alg: SigningAlgorithm,
    /// Whether it is one of the platform's own clients, for which users are not asked for consent.
    pub first_party: bool,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// The type of a client (RFC 6749 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// A program on the user's machine or in a browser, which cannot keep a secret.
    Public,
    /// A program on a server, with a secret; with two secrets while one replaces the other.
    Confidential {
        /// The hashes of the secrets, newest first.
        secrets: Vec<Digest>,
    },
}

/// The rule that a registration breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadClient {
    /// It has no grant type.
    #[error("a client has at least one grant type")]
    NoGrants,
    /// It has no redirect URI, which `authorization_code` requires.
    #[error("a client with the grant type authorization_code has at least one redirect URI")]
    NoRedirect,
    /// It has no secret, which `client_credentials` requires.
    #[error("a client with the grant type client_credentials has a secret")]
    NoSecret,
    /// It has the grant type `password`, and is not one of the platform's own.
    #[error("only a client of the platform itself may have the grant type password")]
    NotOurs,
    /// Its name is empty or too long.
    #[error("a client's name has 1 to 100 characters")]
    Name,
    /// Its audience is empty or too long.
    #[error("a client's audience has 1 to 200 characters")]
    Audience,
}

impl Client {
    /// Checks the registration.
    ///
    /// # Errors
    /// [`BadClient`] names the first rule that it breaks.
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

    /// Whether `secret` is one of its secrets. Compares in constant time.
    pub fn proves(&self, secret: &str) -> bool {
        let given = Digest::of(secret);
        match &self.kind {
            ClientKind::Public => false,
            ClientKind::Confidential { secrets } => {
                secrets.iter().fold(false, |found, known| found | known.is(&given))
            }
        }
    }

    /// The scope that it is granted when it requests `wanted`: what it is registered for, without the rest (RFC 6749
    /// section 3.3). `None` if nothing of the request is left, or the text is not a scope.
    pub fn grant_scope(&self, wanted: Option<&str>) -> Option<Scope> {
        let Some(text) = wanted else { return Some(self.scope.clone()) };
        let wanted: Scope = text.parse().ok()?;
        let granted = wanted.common(&self.scope);
        (!granted.is_empty() || wanted.is_empty()).then_some(granted)
    }
}
