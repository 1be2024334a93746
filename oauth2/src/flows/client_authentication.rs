//! Client authentication (RFC 6749 section 2.3).

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};

use crate::accounts::audit::AuditEvent;
use crate::base::error::OAuthError;
use crate::base::ids::ClientId;
use crate::base::params::Params;
use crate::clients::client::Client;
use crate::provider::{AuditContext, Provider};

/// The credentials in a client's request.
#[derive(Debug)]
pub struct Credentials {
    /// The client id.
    pub id: ClientId,
    /// The secret, by `client_secret_basic` or `client_secret_post`; none for a public client, which may also send an empty
    /// one.
    pub secret: Option<SecretString>,
}

impl Credentials {
    /// Reads the credentials from header or body. A request that uses both is refused (RFC 6749 section 2.3).
    ///
    /// # Errors
    /// `invalid_request` or `invalid_client`.
    pub fn read(headers: &HeaderMap, params: &Params) -> Result<Self, OAuthError> {
        let parse = |id: &str| id.parse().map_err(|_| OAuthError::invalid_client());
        let in_body = params.get("client_id");
        let mut basic = headers.get_all(header::AUTHORIZATION).iter();
        let (first, second) = (basic.next(), basic.next());
        if second.is_some() || (first.is_some() && params.get("client_secret").is_some()) {
            return Err(OAuthError::invalid_request(
                "a client authenticates in one way, in the header or in the body",
            ));
        }
        if params.get("client_assertion").is_some() {
            return Err(OAuthError::invalid_client());
        }
        let Some(value) = first else {
            let id = in_body.ok_or_else(OAuthError::invalid_client)?;
            let secret = params.get("client_secret").map(SecretString::from);
            return Ok(Self { id: parse(id)?, secret });
        };
        let (id, secret) = value.to_str().ok().and_then(decode).ok_or_else(OAuthError::invalid_client)?;
        if in_body.is_some_and(|other| other != id) {
            return Err(OAuthError::invalid_request(
                "client_id and the authorization header name different clients",
            ));
        }
        Ok(Self { id: parse(&id)?, secret: Some(secret).filter(|secret| !secret.expose_secret().is_empty()) })
    }
}

/// The two parts of HTTP Basic, each of which is form-encoded (RFC 6749 section 2.3.1). The secret may be empty: many
/// libraries send their credentials so whether or not there is a secret.
fn decode(header: &str) -> Option<(String, SecretString)> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let both = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (id, secret) = both.split_once(':')?;
    let form = |text: &str| {
        let mut pairs = form_urlencoded::parse(text.as_bytes());
        let Some((name, value)) = pairs.next() else { return Some(String::new()) };
        (value.is_empty() && pairs.next().is_none()).then(|| name.into_owned())
    };
    Some((form(id)?, form(secret)?.into()))
}

impl Provider {
    /// The client with these credentials.
    ///
    /// # Errors
    /// `invalid_client`.
    pub async fn authenticate(&self, given: &Credentials, peer: IpAddr) -> Result<Client, OAuthError> {
        let client = self.storage.client(&given.id).await?.ok_or_else(OAuthError::invalid_client)?;
        let proved = match &given.secret {
            Some(secret) => client.proves(secret.expose_secret()),
            None => client.is_public(),
        };
        if proved {
            return Ok(client);
        }
        // bounded, because requests without authentication must not fill the audit log
        if self.unauthenticated.begin("client", peer, self.clock.now()).is_ok() {
            let context = AuditContext { user: None, client: Some(&client.id), by: None, peer: Some(peer) };
            self.record(AuditEvent::ClientRefused, context).await;
        }
        Err(OAuthError::invalid_client())
    }

    /// The confidential client with these credentials.
    ///
    /// # Errors
    /// `invalid_client`.
    pub async fn authenticate_confidential(
        &self,
        given: &Credentials,
        peer: IpAddr,
    ) -> Result<Client, OAuthError> {
        let client = self.authenticate(given, peer).await?;
        if client.is_public() { Err(OAuthError::invalid_client()) } else { Ok(client) }
    }
}
