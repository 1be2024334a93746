//! The token endpoint (RFC 6749 section 3.2): five ways to ask, one answer.

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};

use crate::accounts::audit::AuditEvent;
use crate::accounts::user::User;
use crate::base::digest::Digest;
use crate::base::error::{ErrorCode, OAuthError};
use crate::base::ids::GrantId;
use crate::clients::client::Client;
use crate::clients::grant_type::GrantType;
use crate::flows::authorization_request::is_verifier;
use crate::flows::issue::{TokenResponse, UserGrant};
use crate::flows::token_request::TokenRequest;
use crate::grants::authorization_code::CodeRedemption;
use crate::grants::device::DevicePoll;
use crate::grants::grant::{Grant, GrantFilter, RefreshOutcome};
use crate::grants::refresh_token::RefreshToken;
use crate::provider::{AuditContext, Provider};
use crate::sessions::sign_in::SignInError;
use crate::tokens::dpop::{DpopProof, Thumbprint};

/// Who asks, besides which client it is.
#[derive(Clone, Copy, Debug)]
struct Requester<'a> {
    peer: IpAddr,
    /// The key that the tokens are to be bound to.
    key: Option<&'a Thumbprint>,
}

impl Provider {
    /// Gives tokens to a client that has shown who it is; bound to a key, if it sends a proof.
    ///
    /// # Errors
    /// [`OAuthError`], for the client.
    pub async fn token(
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
                // nobody is to learn that it exists
                GrantType::Password => {
                    OAuthError::new(ErrorCode::UnsupportedGrantType, "there is no such grant_type here")
                }
                GrantType::AuthorizationCode
                | GrantType::RefreshToken
                | GrantType::ClientCredentials
                | GrantType::DeviceCode => OAuthError::unauthorized_client(),
            });
        }
        match request {
            TokenRequest::Code { code, redirect_uri, verifier } => {
                self.by_code(client, &code, &redirect_uri, &verifier, from).await
            }
            TokenRequest::Refresh { token, scope } => self.by_refresh(client, &token, scope, from).await,
            TokenRequest::Client { scope } => {
                let scope = client.grant_scope(scope.as_deref()).ok_or_else(OAuthError::invalid_scope)?;
                Ok(self.issue_client_token(client, scope, from.key))
            }
            TokenRequest::Device { code } => self.by_device(client, &code, from).await,
            TokenRequest::Password { username, password, scope } => {
                self.by_password(client, &username, &password, scope.as_deref(), from).await
            }
        }
    }

    async fn by_code(
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
                self.revoke_token_ids(&[grant.id.0]).await?;
                let context = AuditContext {
                    user: Some(grant.user),
                    client: Some(&grant.client),
                    by: None,
                    peer: Some(from.peer),
                };
                self.record(AuditEvent::CodeReplayed { grant: grant.id }, context).await;
                return Err(OAuthError::invalid_grant());
            }
            CodeRedemption::Unknown => return Err(OAuthError::invalid_grant()),
        };
        // it is burnt by now, whatever comes
        let ours = grant.client == client.id && code.redirect_uri == redirect_uri;
        if !ours || !is_verifier(verifier.expose_secret(), &code.challenge) {
            return Err(OAuthError::invalid_grant());
        }
        self.begin(client, grant, code.nonce.as_deref(), from).await
    }

    async fn by_refresh(
        &self,
        client: &Client,
        token: &SecretString,
        scope: Option<String>,
        from: Requester<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let token = RefreshToken::parse(token.expose_secret()).ok_or_else(OAuthError::invalid_grant)?;
        if let Some(wanted) = &scope {
            // before the token is used up
            let grant = self
                .storage
                .grant_of_refresh_token(token.family())
                .await?
                .ok_or_else(OAuthError::invalid_grant)?;
            let wanted: crate::Scope = wanted.parse().map_err(|_| OAuthError::invalid_scope())?;
            if !wanted.is_within(&grant.scope) {
                return Err(OAuthError::invalid_scope());
            }
        }
        let next = token.next(&self.random);
        let stored = next.stored(self.after(self.settings.refresh_idle), from.key.map(Thumbprint::digest));
        let now = self.clock.now();
        let grant = match self
            .storage
            .rotate_refresh_token(token.family(), token.current(), &client.id, stored, now)
            .await?
        {
            RefreshOutcome::Rotated(grant) => grant,
            RefreshOutcome::Reused(grant) => {
                self.revoke_token_ids(&[grant.id.0]).await?;
                let context = AuditContext {
                    user: Some(grant.user),
                    client: Some(&client.id),
                    by: None,
                    peer: Some(from.peer),
                };
                self.record(AuditEvent::RefreshReused { grant: grant.id }, context).await;
                return Err(OAuthError::invalid_grant());
            }
            RefreshOutcome::Unknown => return Err(OAuthError::invalid_grant()),
        };
        let user = self.user_of(&grant).await?;
        let scope = scope.and_then(|wanted| wanted.parse().ok()).unwrap_or_else(|| grant.scope.clone());
        Ok(self.issue_user_tokens(
            UserGrant { client, user: &user, grant: &grant },
            scope,
            None,
            Some(&next),
            from.key,
        ))
    }

    async fn by_device(
        &self,
        client: &Client,
        code: &SecretString,
        from: Requester<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let refuse = |code, detail: &'static str| Err(OAuthError::new(code, detail));
        match self.storage.poll_device(Digest::of(code.expose_secret()), &client.id, self.clock.now()).await?
        {
            DevicePoll::Allowed(grant) => self.begin(client, *grant, None, from).await,
            DevicePoll::Pending => refuse(ErrorCode::AuthorizationPending, "nobody has said yes yet"),
            DevicePoll::SlowDown => refuse(ErrorCode::SlowDown, "leave five seconds more between two polls"),
            DevicePoll::Denied => refuse(ErrorCode::AccessDenied, "the user said no"),
            DevicePoll::Expired => refuse(ErrorCode::ExpiredToken, "it took too long"),
            DevicePoll::Unknown => Err(OAuthError::invalid_grant()),
        }
    }

    async fn by_password(
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
            expires_at: self.after(self.settings.access_token_lifetime),
            refresh: None,
            revoked_at: None,
        };
        self.storage.add_grant(&grant, None).await?;
        let context =
            AuditContext { user: Some(user.id), client: Some(&client.id), by: None, peer: Some(from.peer) };
        self.record(AuditEvent::Allowed { grant: grant.id, how: GrantType::Password }, context).await;
        self.begin(client, grant, None, from).await
    }

    /// The first tokens of a grant. From here on it lives as long as its refresh tokens, or its one access token.
    async fn begin(
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
        let (idle, bound) = (self.after(self.settings.refresh_idle), from.key.map(Thumbprint::digest));
        let stored = refresh.as_ref().map(|token| token.stored(idle, bound));
        if !self.storage.extend_grant(grant.id, self.after(life), stored).await? {
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

    /// The user of a grant; one who is disabled or gone gets nothing, and the grant ends.
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
