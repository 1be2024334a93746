//! Token introspection (RFC 7662).

use jiff::Timestamp;
use serde::Serialize;

use crate::base::error::OAuthError;
use crate::base::ids::{ClientId, TokenId, Username};
use crate::base::scope::Scope;
use crate::clients::client::Client;
use crate::grants::grant::Grant;
use crate::grants::refresh_token::{RefreshToken, StoredRefreshToken};
use crate::provider::Provider;
use crate::tokens::access_token::{AccessToken, Subject};

/// An introspection response (RFC 7662 section 2.2). For a token that is not valid it has only `active: false`.
#[derive(Debug, Default, Serialize)]
pub struct Introspection {
    /// Whether the token is valid.
    pub active: bool,
    /// Its scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The client that it was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The user's name, if the token has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// `Bearer` or `DPoP`, for an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
    /// When it expires, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// When it was issued, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// The user's id, or the client's for its own token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Its audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Its issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<TokenId>,
    /// The DPoP key that it is bound to (RFC 9449 section 6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<serde_json::Value>,
}

impl Provider {
    /// Introspects a token. Tokens that were neither issued to `caller` nor meant for it are reported as inactive.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn introspect(&self, token: &str, caller: &Client) -> Result<Introspection, OAuthError> {
        let now = self.clock.now();
        if let Some(refresh) = RefreshToken::parse(token) {
            let grant = self
                .storage
                .grant_of_refresh_token(refresh.family())
                .await?
                .filter(|grant| grant.is_live(now));
            let Some(grant) = grant.filter(|grant| grant.client == caller.id) else {
                return Ok(Introspection::default());
            };
            return Ok(self.introspect_refresh(&refresh, grant, now));
        }
        let Ok(access) = self.own_tokens.verify_unproved(token) else { return Ok(Introspection::default()) };
        if access.client != caller.id && access.audience != caller.audience
            || !self.has_live_grant(&access).await?
        {
            return Ok(Introspection::default());
        }
        Ok(Introspection {
            active: true,
            scope: Some(access.scope.clone()),
            client_id: Some(access.client.clone()),
            username: access.username.clone(),
            token_type: Some(if access.key.is_some() { "DPoP" } else { "Bearer" }),
            cnf: access.key.as_ref().map(|jkt| serde_json::json!({ "jkt": jkt })),
            exp: Some(access.expires_at.as_second()),
            iat: Some(access.issued_at.as_second()),
            sub: Some(match access.subject {
                Subject::User(user) => user.to_string(),
                Subject::Client => access.client.to_string(),
            }),
            aud: Some(access.audience.clone()),
            iss: Some(self.settings.issuer.as_str().to_owned()),
            jti: Some(access.token),
        })
    }

    fn introspect_refresh(&self, token: &RefreshToken, grant: Grant, now: Timestamp) -> Introspection {
        let counts =
            |known: &StoredRefreshToken| known.is_current(&token.current()) && now < known.expires_at;
        let Some(refresh) = grant.refresh.filter(counts) else { return Introspection::default() };
        Introspection {
            active: true,
            scope: Some(grant.scope),
            client_id: Some(grant.client),
            exp: Some(refresh.expires_at.as_second()),
            sub: Some(grant.user.to_string()),
            iss: Some(self.settings.issuer.as_str().to_owned()),
            ..Introspection::default()
        }
    }

    /// Whether the grant of a token is not revoked, according to the storage.
    pub(super) async fn has_live_grant(&self, access: &AccessToken) -> Result<bool, OAuthError> {
        let Some(grant) = access.grant else { return Ok(true) };
        Ok(self.storage.grant(grant).await?.is_some_and(|grant| grant.revoked_at.is_none()))
    }
}
