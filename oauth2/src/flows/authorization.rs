//! The authorization endpoint (RFC 6749 section 3.1): sign-in, consent, and the code in the redirect (RFC 7636, RFC
//! 9207).

use secrecy::ExposeSecret;
use url::Url;

use crate::accounts::audit::AuditEvent;
use crate::accounts::browser_session::SignedIn;
use crate::base::error::{ErrorCode, OAuthError};
use crate::base::ids::GrantId;
use crate::base::params::Params;
use crate::clients::client::Client;
use crate::clients::grant_type::GrantType;
use crate::clients::redirect_uri::with_query;
use crate::flows::authorization_request::{AuthorizationRequest, Prompt, RejectedRequest, ResponseTarget};
use crate::grants::authorization_code::AuthorizationCode;
use crate::grants::grant::Grant;
use crate::provider::{AuditContext, Provider};

/// The result of an authorization request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizationOutcome {
    /// The user has to sign in.
    SignIn(AuthorizationRequest, Client),
    /// The user has to be asked for consent.
    Consent(AuthorizationRequest, Client),
    /// The browser is redirected to the client, with a code or an error.
    Redirect(String),
    /// The error is shown on a page of the provider.
    Refuse(OAuthError),
}

impl Provider {
    /// Handles an authorization request from a browser.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn authorize(
        &self,
        params: &Params,
        signed_in: Option<&SignedIn>,
    ) -> Result<AuthorizationOutcome, OAuthError> {
        let (request, client) = match self.read_request(params).await? {
            Ok(read) => read,
            Err(refused) => return Ok(self.refuse(refused)),
        };
        let now = self.clock.now();
        let is_recent = |of: &&SignedIn| request.accepts_sign_in(of.session.auth_time, now);
        let Some(signed_in) = signed_in.filter(is_recent) else {
            return Ok(match request.prompt {
                Prompt::Never => {
                    let error = OAuthError::new(ErrorCode::LoginRequired, "the user is not signed in");
                    AuthorizationOutcome::Redirect(self.with_error(&request.target, &error))
                }
                Prompt::IfNeeded { .. } => AuthorizationOutcome::SignIn(request, client),
            });
        };
        let needed = self.needs_consent(&request, &client, signed_in).await?;
        match request.prompt {
            Prompt::Never if needed => {
                let error = OAuthError::new(ErrorCode::ConsentRequired, "the user has not consented to this");
                Ok(AuthorizationOutcome::Redirect(self.with_error(&request.target, &error)))
            }
            Prompt::IfNeeded { consent, .. } if needed || consent => {
                Ok(AuthorizationOutcome::Consent(request, client))
            }
            Prompt::Never | Prompt::IfNeeded { .. } => {
                self.issue_code(&request, &client, signed_in).await.map(AuthorizationOutcome::Redirect)
            }
        }
    }

    /// Handles the user's decision on an authorization request. The request is read again, because the browser may
    /// have changed it.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn decide_authorization(
        &self,
        params: &Params,
        signed_in: &SignedIn,
        allowed: bool,
    ) -> Result<AuthorizationOutcome, OAuthError> {
        let (request, client) = match self.read_request(params).await? {
            Ok(read) => read,
            Err(refused) => return Ok(self.refuse(refused)),
        };
        if !allowed {
            let error = OAuthError::new(ErrorCode::AccessDenied, "the user denied the request");
            return Ok(AuthorizationOutcome::Redirect(self.with_error(&request.target, &error)));
        }
        let before = self.storage.consent(signed_in.user.id, &client.id).await?;
        let scope = before.map_or_else(|| request.scope.clone(), |before| before.and(&request.scope));
        self.storage.set_consent(signed_in.user.id, &client.id, &scope).await?;
        self.issue_code(&request, &client, signed_in).await.map(AuthorizationOutcome::Redirect)
    }

    async fn read_request(
        &self,
        params: &Params,
    ) -> Result<Result<(AuthorizationRequest, Client), RejectedRequest>, OAuthError> {
        let unknown =
            || Err(RejectedRequest::ShowError(OAuthError::invalid_request("the client is unknown")));
        let Some(id) = params.get("client_id").and_then(|id| id.parse().ok()) else { return Ok(unknown()) };
        let Some(client) = self.storage.client(&id).await? else { return Ok(unknown()) };
        Ok(AuthorizationRequest::read(params, &client).map(|request| (request, client)))
    }

    fn refuse(&self, refused: RejectedRequest) -> AuthorizationOutcome {
        match refused {
            RejectedRequest::ShowError(error) => AuthorizationOutcome::Refuse(error),
            RejectedRequest::RedirectError(target, error) => {
                AuthorizationOutcome::Redirect(self.with_error(&target, &error))
            }
        }
    }

    /// Whether the user has to be asked. A public client cannot authenticate, so another program may impersonate it:
    /// its users are asked each time (RFC 8252 section 8.6), unless it is one of the platform's own.
    async fn needs_consent(
        &self,
        request: &AuthorizationRequest,
        client: &Client,
        signed_in: &SignedIn,
    ) -> Result<bool, OAuthError> {
        if client.first_party {
            return Ok(false);
        }
        if client.is_public() {
            return Ok(true);
        }
        let before = self.storage.consent(signed_in.user.id, &client.id).await?;
        Ok(before.is_none_or(|before| !request.scope.is_within(&before)))
    }

    async fn issue_code(
        &self,
        request: &AuthorizationRequest,
        client: &Client,
        signed_in: &SignedIn,
    ) -> Result<String, OAuthError> {
        let (code, digest) = self.random.secret("mgx_ac_");
        let expires_at = self.time_after(self.settings.code_lifetime);
        let grant = Grant {
            id: GrantId(self.random.id()),
            user: signed_in.user.id,
            client: client.id.clone(),
            scope: request.scope.clone(),
            session: Some(signed_in.session.id),
            auth_time: signed_in.session.auth_time,
            created_at: self.clock.now(),
            expires_at,
            refresh: None,
            revoked_at: None,
        };
        let stored = AuthorizationCode {
            digest,
            grant: grant.id,
            redirect_uri: request.target.redirect_uri.clone(),
            challenge: request.challenge.clone(),
            nonce: request.nonce.clone(),
            expires_at,
            used: false,
        };
        self.storage.add_grant(&grant, Some(&stored)).await?;
        let context =
            AuditContext { user: Some(signed_in.user.id), client: Some(&client.id), by: None, peer: None };
        self.record(AuditEvent::Allowed { grant: grant.id, how: GrantType::AuthorizationCode }, context)
            .await;
        Ok(self.answer(&request.target, &[("code", code.expose_secret())]))
    }

    fn with_error(&self, target: &ResponseTarget, error: &OAuthError) -> String {
        self.answer(target, &[("error", error.code.name()), ("error_description", &error.detail)])
    }

    /// The redirect URI with a response, which names the issuer (RFC 9207).
    fn answer(&self, target: &ResponseTarget, parameters: &[(&str, &str)]) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(parameters);
        if let Some(state) = &target.state {
            pairs.append_pair("state", state);
        }
        pairs.append_pair("iss", self.settings.issuer.as_str());
        let uri = with_query(&target.redirect_uri, &pairs.finish());
        debug_assert!(Url::parse(&uri).is_ok(), "{uri}");
        uri
    }
}
