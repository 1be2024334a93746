//! The token endpoint (RFC 6749 section 3.2).

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};

use crate::accounts::audit::AuditEvent;
use crate::accounts::user::User;
use crate::base::digest::Digest;
use crate::base::error::{ErrorCode, OAuthError};
use crate::base::ids::GrantId;
use crate::base::scope::Scope;
use crate::clients::client::Client;
use crate::clients::grant_type::GrantType;
use crate::flows::authorization_request::is_verifier;
use crate::flows::issue::{TokenResponse, UserGrant};
use crate::flows::token_request::TokenRequest;
use crate::grants::authorization_code::CodeRedemption;
use crate::grants::device::DevicePoll;
use crate::grants::grant::{Grant, GrantFilter, RefreshOutcome};
use crate::grants::refresh_token::{RefreshToken, StoredRefreshToken};
use crate::provider::{AuditContext, Provider};
use crate::sessions::sign_in::SignInError;
use crate::tokens::dpop::{DpopProof, Thumbprint};

/// The circumstances of a token request.
#[derive(Clone, Copy, Debug)]
struct Requester<'a> {
    peer: IpAddr,
    /// The DPoP key that the tokens are bound to.
    key: Option<&'a Thumbprint>,
}

impl Provider {
    /// Issues tokens to an authenticated client, bound to a key if the request has a DPoP proof.
    ///
    /// # Errors
    /// [`OAuthError`], for the client.
    pub async fn issue_tokens(
        &self,
        client: &Client,
        request: TokenRequest,
        peer: IpAddr,
        proof: Option<DpopProof<'_>>,
    ) -> Result<TokenResponse, OAuthError> {
        let key = match proof {
            None => None,
            Some(proof) => Some(
                self.proofs
                    .check(proof, None, self.clock.now())
                    .map_err(|error| OAuthError::new(ErrorCode::InvalidDpopProof, error.to_string()))?,
            ),
        };
        let from = Requester { peer, key: key.as_ref() };
        if !client.grants.contains(&request.grant()) {
            return Err(match request.grant() {
                // a client without this grant type must not learn that another one has it
                GrantType::Password => {
                    OAuthError::new(ErrorCode::UnsupportedGrantType, "the grant_type is not supported")
                }
                GrantType::AuthorizationCode
                | GrantType::RefreshToken
                | GrantType::ClientCredentials
                | GrantType::DeviceCode => OAuthError::unauthorized_client(),
            });
        }
        match request {
            TokenRequest::Code { code, redirect_uri, verifier } => {
                self.tokens_for_code(client, &code, &redirect_uri, &verifier, from).await
            }
            TokenRequest::Refresh { token, scope } => {
                self.tokens_for_refresh_token(client, &token, scope, from).await
            }
            TokenRequest::Client { scope } => {
                let scope = client.grant_scope(scope.as_deref()).ok_or_else(OAuthError::invalid_scope)?;
                Ok(self.issue_client_token(client, scope, from.key))
            }
            TokenRequest::Device { code } => self.tokens_for_device(client, &code, from).await,
            TokenRequest::Password { username, password, scope } => {
                self.tokens_for_password(client, &username, &password, scope.as_deref(), from).await
            }
        }
    }

    async fn tokens_for_code(
        &self,
        client: &Client,
        code: &SecretString,
        redirect_uri: &str,
        verifier: &SecretString,
        from: Requester<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let shown = self.storage.redeem_code(Digest::of(code.expose_secret()), self.clock.now()).await?;
        let (code, grant) = match shown {
            CodeRedemption::First(code, grant) => (code, grant),
            CodeRedemption::Replayed(grant) => {
                return self.refuse_reuse(&grant, AuditEvent::CodeReplayed { grant: grant.id }, from).await;
            }
            CodeRedemption::Unknown => return Err(OAuthError::invalid_grant()),
        };
        // the code is used up even if the next check fails
        let ours = grant.client == client.id && code.redirect_uri == redirect_uri;
        if !ours || !is_verifier(verifier.expose_secret(), &code.challenge) {
            return Err(OAuthError::invalid_grant());
        }
        self.issue_first(client, grant, code.nonce.as_deref(), from).await
    }

    async fn tokens_for_refresh_token(
        &self,
        client: &Client,
        token: &SecretString,
        scope: Option<String>,
        from: Requester<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let token = RefreshToken::parse(token.expose_secret()).ok_or_else(OAuthError::invalid_grant)?;
        let scope = match scope {
            Some(wanted) => Some(self.narrower_scope(client, &token, &wanted).await?),
            None => None,
        };
        let next = token.next(&self.random);
        let grace = self.settings.refresh_grace;
        let replaced = grace.is_positive().then(|| token.replaced_by(&next, self.time_after(grace)));
        let stored = StoredRefreshToken {
            replaced,
            ..next.stored(self.time_after(self.settings.refresh_idle), from.key.map(Thumbprint::digest))
        };
        let now = self.clock.now();
        let grant = match self
            .storage
            .rotate_refresh_token(token.family(), token.current(), &client.id, stored, now)
            .await?
        {
            RefreshOutcome::Rotated(grant) => grant,
            RefreshOutcome::Reused(grant) => {
                return self.refuse_reuse(&grant, AuditEvent::RefreshReused { grant: grant.id }, from).await;
            }
            RefreshOutcome::Unknown => return Err(OAuthError::invalid_grant()),
        };
        let user = self.user_of(&grant).await?;
        // the client may be registered for less than when the user allowed it
        let scope = scope.unwrap_or_else(|| grant.scope.common(&client.scope));
        Ok(self.issue_user_tokens(
            UserGrant { client, user: &user, grant: &grant },
            scope,
            None,
            Some(&next),
            from.key,
        ))
    }

    /// The scope that a refresh request asks for, which must not exceed the grant (RFC 6749 section 6). What the client is
    /// not registered for is dropped as it was in the first request, which many clients repeat. Checked before the
    /// rotation, which uses the refresh token up.
    async fn narrower_scope(
        &self,
        client: &Client,
        token: &RefreshToken,
        wanted: &str,
    ) -> Result<Scope, OAuthError> {
        let grant = self.storage.grant_of_refresh_token(token.family()).await?;
        let grant = grant.ok_or_else(OAuthError::invalid_grant)?;
        let exceeds = || OAuthError::new(ErrorCode::InvalidScope, "the scope exceeds the grant");
        client.grant_scope(Some(wanted)).filter(|scope| scope.is_within(&grant.scope)).ok_or_else(exceeds)
    }

    async fn tokens_for_device(
        &self,
        client: &Client,
        code: &SecretString,
        from: Requester<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let refuse = |code, detail: &'static str| Err(OAuthError::new(code, detail));
        match self.storage.poll_device(Digest::of(code.expose_secret()), &client.id, self.clock.now()).await?
        {
            DevicePoll::Allowed(grant) => self.issue_first(client, *grant, None, from).await,
            DevicePoll::Pending => refuse(ErrorCode::AuthorizationPending, "the user has not decided yet"),
            DevicePoll::SlowDown => refuse(ErrorCode::SlowDown, "poll five seconds less often"),
            DevicePoll::Denied => refuse(ErrorCode::AccessDenied, "the user denied the request"),
            DevicePoll::Expired => refuse(ErrorCode::ExpiredToken, "the device code has expired"),
            DevicePoll::Unknown => Err(OAuthError::invalid_grant()),
        }
    }

    async fn tokens_for_password(
        &self,
        client: &Client,
        username: &str,
        password: &SecretString,
        scope: Option<&str>,
        from: Requester<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let scope = client.grant_scope(scope).ok_or_else(OAuthError::invalid_scope)?;
        let user = match self.check_password(username, password, from.peer).await {
            Ok(user) => user,
            Err(SignInError::Wrong) => {
                return Err(OAuthError::new(ErrorCode::WrongPassword, "user name or password is wrong"));
            }
            Err(SignInError::Throttled(wait)) => {
                return Err(OAuthError::too_many("too many wrong passwords", wait));
            }
            Err(SignInError::Unavailable(error)) => return Err(error),
        };
        let now = self.clock.now();
        let grant = Grant {
            id: GrantId(self.random.id()),
            user: user.id,
            client: client.id.clone(),
            scope,
            session: None,
            auth_time: now,
            created_at: now,
            expires_at: self.time_after(self.settings.access_token_lifetime),
            refresh: None,
            revoked_at: None,
        };
        self.storage.add_grant(&grant, None).await?;
        let context =
            AuditContext { user: Some(user.id), client: Some(&client.id), by: None, peer: Some(from.peer) };
        self.record(AuditEvent::Allowed { grant: grant.id, how: GrantType::Password }, context).await;
        self.issue_first(client, grant, None, from).await
    }

    /// Issues the first tokens of a grant, and sets its expiry: that of its refresh tokens, or of its one access
    /// token.
    async fn issue_first(
        &self,
        client: &Client,
        grant: Grant,
        nonce: Option<&str>,
        from: Requester<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let user = self.user_of(&grant).await?;
        let renewable = client.grants.contains(&GrantType::RefreshToken);
        let refresh = renewable.then(|| RefreshToken::first(&self.random));
        let life =
            if renewable { self.settings.refresh_absolute } else { self.settings.access_token_lifetime };
        let (idle, bound) = (self.time_after(self.settings.refresh_idle), from.key.map(Thumbprint::digest));
        let stored = refresh.as_ref().map(|token| token.stored(idle, bound));
        if !self.storage.extend_grant(grant.id, self.time_after(life), stored).await? {
            return Err(OAuthError::invalid_grant());
        }
        let scope = grant.scope.clone();
        Ok(self.issue_user_tokens(
            UserGrant { client, user: &user, grant: &grant },
            scope,
            nonce,
            refresh.as_ref(),
            from.key,
        ))
    }

    /// Revokes the access tokens of a grant that the storage has revoked because its code or refresh token was reused.
    async fn refuse_reuse(
        &self,
        grant: &Grant,
        event: AuditEvent,
        from: Requester<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        self.revoke_token_ids(&[grant.id.0]).await?;
        let (user, client) = (Some(grant.user), Some(&grant.client));
        self.record(event, AuditContext { user, client, by: None, peer: Some(from.peer) }).await;
        Err(OAuthError::invalid_grant())
    }

    /// The user of a grant. If the user is disabled or removed, the grant is revoked.
    async fn user_of(&self, grant: &Grant) -> Result<User, OAuthError> {
        if let Some(user) = self.storage.user(grant.user).await?.filter(|user| !user.disabled) {
            return Ok(user);
        }
        let context =
            AuditContext { user: Some(grant.user), client: Some(&grant.client), by: None, peer: None };
        self.revoke(&GrantFilter::Grant(grant.id), context).await?;
        Err(OAuthError::invalid_grant())
    }
}
