//! What can be asked and done about a token afterwards: introspection (RFC 7662), revocation (RFC 7009), userinfo.

use jiff::Timestamp;
use serde::Serialize;

use crate::client::Client;
use crate::dpop::Proof;
use crate::error::{ErrorCode, OAuthError};
use crate::grant::{Grant, RefreshToken, Whose};
use crate::ids::{ClientId, GrantId, TokenId, UserId, Username};
use crate::provider::{About, Provider};
use crate::scope::{EMAIL, GROUPS, OPENID, PROFILE, Scope};
use crate::verifier::{Access, Subject, Unproved};

/// What introspection answers about a token that counts; about any other it says no more than `active: false`.
#[derive(Debug, Default, Serialize)]
pub struct Introspection {
    /// Whether it counts.
    pub active: bool,
    /// What it is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whom it was given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// `Bearer` or `DPoP`, of an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// On whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Who is to accept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Its own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<TokenId>,
    /// The key that it is bound to (RFC 9449 section 6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<serde_json::Value>,
}

/// What userinfo answers (OpenID Connect Core section 5.3).
#[derive(Debug, Serialize)]
pub struct UserInfo {
    /// Who.
    pub sub: UserId,
    /// With scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// With scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<Username>,
    /// With scope `profile`: seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<i64>,
    /// With scope `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// With scope `email`: nobody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// With scope `groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
}

impl Provider {
    /// What `caller` may know of a token: it was given to the caller, or is meant for it.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn introspect(&self, token: &str, caller: &Client) -> Result<Introspection, OAuthError> {
        let now = self.clock.now();
        if let Some(refresh) = RefreshToken::parse(token) {
            let grant = self.storage.grant_of(refresh.family()).await?.filter(|grant| grant.is_live(now));
            let Some(grant) = grant.filter(|grant| grant.client == caller.id) else {
                return Ok(Introspection::default());
            };
            return Ok(self.introspect_refresh(&refresh, grant, now));
        }
        let Ok(access) = self.ours.verify_unproved(token) else { return Ok(Introspection::default()) };
        if access.client != caller.id && access.audience != caller.audience || !self.stands(&access).await? {
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
        let counts = |known: &crate::grant::Refresh| known.turn.is(&token.turn()) && now < known.expires_at;
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

    /// Whether the grant of a token still stands, by the store.
    async fn stands(&self, access: &Access) -> Result<bool, OAuthError> {
        let Some(grant) = access.grant else { return Ok(true) };
        Ok(self.storage.grant(grant).await?.is_some_and(|grant| grant.revoked_at.is_none()))
    }

    /// Takes back a token that was given to `caller`. One that is not known has been taken back already.
    ///
    /// # Errors
    /// It is another client's, or the store does not answer.
    pub async fn revoke_token(&self, token: &str, caller: &Client) -> Result<(), OAuthError> {
        let others = || OAuthError::new(ErrorCode::UnauthorizedClient, "the token is another client's");
        if let Some(refresh) = RefreshToken::parse(token) {
            let Some(grant) = self.storage.grant_of(refresh.family()).await? else { return Ok(()) };
            if grant.client != caller.id {
                return Err(others());
            }
            return self.revoke_grant(grant.id, caller).await;
        }
        let Ok(access) = self.ours.verify_unproved(token) else { return Ok(()) };
        if access.client != caller.id {
            return Err(others());
        }
        Ok(self.cut(&[access.token.0]).await?)
    }

    async fn revoke_grant(&self, grant: GrantId, caller: &Client) -> Result<(), OAuthError> {
        let about = About { user: None, client: Some(&caller.id), by: None, peer: None };
        self.revoke(&Whose::Grant(grant), about).await?;
        Ok(())
    }

    /// Who the user of an access token is, as far as its scope goes.
    ///
    /// # Errors
    /// `invalid_token` or `insufficient_scope`.
    pub async fn userinfo(&self, token: &str, proof: Option<Proof<'_>>) -> Result<UserInfo, OAuthError> {
        let invalid = || OAuthError::new(ErrorCode::InvalidToken, "the access token is not valid here");
        let access = match proof {
            None => self.ours.verify(token).map_err(|_| invalid())?,
            Some(proof) => self.ours.verify_bound(token, proof).map_err(|unproved| match unproved {
                Unproved::Token(_) => invalid(),
                Unproved::Proof(error) => OAuthError::new(ErrorCode::InvalidDpopProofHere, error.to_string()),
            })?,
        };
        if !access.scope.has(OPENID) {
            return Err(OAuthError::new(ErrorCode::InsufficientScope, "the access token needs scope openid"));
        }
        let Subject::User(id) = access.subject else { return Err(invalid()) };
        if !self.stands(&access).await? {
            return Err(invalid());
        }
        let user = self.storage.user(id).await?.filter(|user| !user.disabled).ok_or_else(invalid)?;
        let (profile, email) = (access.scope.has(PROFILE), access.scope.has(EMAIL));
        Ok(UserInfo {
            sub: id,
            name: profile.then_some(user.display_name),
            preferred_username: profile.then_some(user.name),
            updated_at: profile.then(|| user.updated_at.as_second()),
            email_verified: (email && user.email.is_some()).then_some(false),
            email: user.email.filter(|_| email),
            groups: access.scope.has(GROUPS).then(|| user.groups.into_iter().collect()),
        })
    }
}
