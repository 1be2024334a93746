//! The token endpoint (RFC 6749 section 3.2): five ways to ask, one answer.

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};

use crate::audit::AuditEvent;
use crate::client::{Client, GrantType};
use crate::device::Poll;
use crate::dpop::{Proof, Thumbprint};
use crate::error::{ErrorCode, OAuthError};
use crate::grant::{CodeUse, Grant, RefreshToken, Turn, Whose};
use crate::ids::GrantId;
use crate::mint::{Behalf, TokenResponse};
use crate::params::Params;
use crate::provider::{About, Provider};
use crate::request::is_verifier;
use crate::secret::Digest;
use crate::sign_in::SignInError;
use crate::user::User;

/// What a client asks for.
#[derive(Debug)]
pub enum TokenRequest {
    /// With a code (RFC 6749 section 4.1.3).
    Code {
        /// The code.
        code: SecretString,
        /// As in the authorization request.
        redirect_uri: String,
        /// PKCE (RFC 7636 section 4.5).
        verifier: SecretString,
    },
    /// With a refresh token (RFC 6749 section 6).
    Refresh {
        /// The refresh token.
        token: SecretString,
        /// Less than before, if the client wants less.
        scope: Option<String>,
    },
    /// For itself (RFC 6749 section 4.4).
    Client {
        /// What for.
        scope: Option<String>,
    },
    /// With a device code (RFC 8628 section 3.4).
    Device {
        /// The device code.
        code: SecretString,
    },
    /// With a password.
    Password {
        /// The user's name.
        username: String,
        /// The user's password.
        password: SecretString,
        /// What for.
        scope: Option<String>,
    },
}

impl TokenRequest {
    /// The request that these parameters make.
    ///
    /// # Errors
    /// `unsupported_grant_type`, or `invalid_request` if something is missing.
    pub fn read(params: &Params) -> Result<Self, OAuthError> {
        let need = |name: &'static str| {
            params.get(name).ok_or_else(|| OAuthError::invalid_request(format!("{name} is missing")))
        };
        let secret = |name| need(name).map(SecretString::from);
        let scope = params.get("scope").map(str::to_owned);
        let grant = match params.get("grant_type") {
            Some(name) => GrantType::named(name).ok_or_else(|| {
                OAuthError::new(ErrorCode::UnsupportedGrantType, "there is no such grant_type here")
            })?,
            // the seeds' sign-in form says nothing
            None if params.get("username").is_some() && params.get("client_id").is_none() => {
                GrantType::Password
            }
            None => return Err(OAuthError::invalid_request("grant_type is missing")),
        };
        Ok(match grant {
            GrantType::AuthorizationCode => Self::Code {
                code: secret("code")?,
                redirect_uri: need("redirect_uri")?.to_owned(),
                verifier: secret("code_verifier")?,
            },
            GrantType::RefreshToken => Self::Refresh { token: secret("refresh_token")?, scope },
            GrantType::ClientCredentials => Self::Client { scope },
            GrantType::DeviceCode => Self::Device { code: secret("device_code")? },
            GrantType::Password => {
                let username = need("username")?.to_owned();
                Self::Password { username, password: secret("password")?, scope }
            }
        })
    }

    /// Which way of asking it is.
    pub fn grant(&self) -> GrantType {
        match self {
            Self::Code { .. } => GrantType::AuthorizationCode,
            Self::Refresh { .. } => GrantType::RefreshToken,
            Self::Client { .. } => GrantType::ClientCredentials,
            Self::Device { .. } => GrantType::DeviceCode,
            Self::Password { .. } => GrantType::Password,
        }
    }
}

/// Who asks, besides which client it is.
#[derive(Clone, Copy, Debug)]
struct Asker<'a> {
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
        proof: Option<Proof<'_>>,
    ) -> Result<TokenResponse, OAuthError> {
        let key = match proof {
            None => None,
            Some(proof) => Some(
                self.proofs
                    .check(proof, None, self.clock.now())
                    .map_err(|error| OAuthError::new(ErrorCode::InvalidDpopProof, error.to_string()))?,
            ),
        };
        let from = Asker { peer, key: key.as_ref() };
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
                Ok(self.mint_for_client(client, scope, from.key))
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
        from: Asker<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let shown = self.storage.show_code(Digest::of(code.expose_secret()), self.clock.now()).await?;
        let (code, grant) = match shown {
            CodeUse::First(code, grant) => (code, grant),
            CodeUse::Replayed(grant) => {
                self.cut(&[grant.id.0]).await?;
                let about = About {
                    user: Some(grant.user),
                    client: Some(&grant.client),
                    by: None,
                    peer: Some(from.peer),
                };
                self.note(AuditEvent::CodeReplayed { grant: grant.id }, about).await;
                return Err(OAuthError::invalid_grant());
            }
            CodeUse::Unknown => return Err(OAuthError::invalid_grant()),
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
        from: Asker<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let token = RefreshToken::parse(token.expose_secret()).ok_or_else(OAuthError::invalid_grant)?;
        if let Some(wanted) = &scope {
            // before the token is used up
            let grant = self.storage.grant_of(token.family()).await?.ok_or_else(OAuthError::invalid_grant)?;
            let wanted: crate::Scope = wanted.parse().map_err(|_| OAuthError::invalid_scope())?;
            if !wanted.is_within(&grant.scope) {
                return Err(OAuthError::invalid_scope());
            }
        }
        let next = token.next(&self.chance);
        let stored = next.stored(self.after(self.settings.refresh_idle), from.key.map(Thumbprint::digest));
        let now = self.clock.now();
        let grant = match self.storage.turn(token.family(), token.turn(), &client.id, stored, now).await? {
            Turn::Turned(grant) => grant,
            Turn::Reused(grant) => {
                self.cut(&[grant.id.0]).await?;
                let about = About {
                    user: Some(grant.user),
                    client: Some(&client.id),
                    by: None,
                    peer: Some(from.peer),
                };
                self.note(AuditEvent::RefreshReused { grant: grant.id }, about).await;
                return Err(OAuthError::invalid_grant());
            }
            Turn::Unknown => return Err(OAuthError::invalid_grant()),
        };
        let user = self.user_of(&grant).await?;
        let scope = scope.and_then(|wanted| wanted.parse().ok()).unwrap_or_else(|| grant.scope.clone());
        Ok(self.mint(Behalf { client, user: &user, grant: &grant }, scope, None, Some(&next), from.key))
    }

    async fn by_device(
        &self,
        client: &Client,
        code: &SecretString,
        from: Asker<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let refuse = |code, detail: &'static str| Err(OAuthError::new(code, detail));
        match self.storage.poll(Digest::of(code.expose_secret()), &client.id, self.clock.now()).await? {
            Poll::Allowed(grant) => self.begin(client, *grant, None, from).await,
            Poll::Pending => refuse(ErrorCode::AuthorizationPending, "nobody has said yes yet"),
            Poll::SlowDown => refuse(ErrorCode::SlowDown, "leave five seconds more between two polls"),
            Poll::Denied => refuse(ErrorCode::AccessDenied, "the user said no"),
            Poll::Expired => refuse(ErrorCode::ExpiredToken, "it took too long"),
            Poll::Unknown => Err(OAuthError::invalid_grant()),
        }
    }

    async fn by_password(
        &self,
        client: &Client,
        username: &str,
        password: &SecretString,
        scope: Option<&str>,
        from: Asker<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let scope = client.grant_scope(scope).ok_or_else(OAuthError::invalid_scope)?;
        let user = match self.check_password(username, password, from.peer).await {
            Ok(user) => user,
            Err(SignInError::Wrong) => {
                return Err(OAuthError::new(ErrorCode::WrongPassword, "user name or password is wrong"));
            }
            Err(SignInError::Slowed(wait)) => {
                return Err(OAuthError::too_many("too many wrong passwords", wait));
            }
            Err(SignInError::Unavailable(error)) => return Err(error),
        };
        let now = self.clock.now();
        let grant = Grant {
            id: GrantId(self.chance.id()),
            user: user.id,
            client: client.id.clone(),
            scope,
            session: None,
            auth_time: now,
            created_at: now,
            expires_at: self.after(self.settings.access),
            refresh: None,
            revoked_at: None,
        };
        self.storage.open(&grant, None).await?;
        let about = About { user: Some(user.id), client: Some(&client.id), by: None, peer: Some(from.peer) };
        self.note(AuditEvent::Allowed { grant: grant.id, how: GrantType::Password }, about).await;
        self.begin(client, grant, None, from).await
    }

    /// The first tokens of a grant. From here on it lives as long as its refresh tokens, or its one access token.
    async fn begin(
        &self,
        client: &Client,
        grant: Grant,
        nonce: Option<&str>,
        from: Asker<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let user = self.user_of(&grant).await?;
        let renewable = client.grants.contains(&GrantType::RefreshToken);
        let refresh = renewable.then(|| RefreshToken::first(&self.chance));
        let life = if renewable { self.settings.refresh_absolute } else { self.settings.access };
        let (idle, bound) = (self.after(self.settings.refresh_idle), from.key.map(Thumbprint::digest));
        let stored = refresh.as_ref().map(|token| token.stored(idle, bound));
        if !self.storage.go_on(grant.id, self.after(life), stored).await? {
            return Err(OAuthError::invalid_grant());
        }
        let scope = grant.scope.clone();
        Ok(self.mint(Behalf { client, user: &user, grant: &grant }, scope, nonce, refresh.as_ref(), from.key))
    }

    /// The user of a grant; one who is disabled or gone gets nothing, and the grant ends.
    async fn user_of(&self, grant: &Grant) -> Result<User, OAuthError> {
        if let Some(user) = self.storage.user(grant.user).await?.filter(|user| !user.disabled) {
            return Ok(user);
        }
        let about = About { user: Some(grant.user), client: Some(&grant.client), by: None, peer: None };
        self.revoke(&Whose::Grant(grant.id), about).await?;
        Err(OAuthError::invalid_grant())
    }
}
