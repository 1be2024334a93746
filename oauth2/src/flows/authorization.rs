//! The authorization code flow up to the code (RFC 6749 section 4.1, RFC 7636, RFC 9207).

use jiff::Timestamp;
use secrecy::ExposeSecret;
use url::Url;

use crate::accounts::audit::AuditEvent;
use crate::accounts::browser_session::SignedIn;
use crate::base::error::{ErrorCode, OAuthError};
use crate::base::ids::GrantId;
use crate::base::params::Params;
use crate::clients::client::Client;
use crate::clients::grant_type::GrantType;
use crate::flows::authorization_request::{AuthorizeRequest, Prompt, RejectedRequest, ResponseTarget};
use crate::grants::authorization_code::AuthorizationCode;
use crate::grants::grant::Grant;
use crate::provider::{AuditContext, Provider};

/// What happens next with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizationOutcome {
    /// Nobody is signed in, or not recently enough.
    SignIn(AuthorizeRequest, Client),
    /// The user is asked whether they allow it.
    Consent(AuthorizeRequest, Client),
    /// The browser is sent there: with a code, or with an error that the client can act on.
    Redirect(String),
    /// The browser stays here.
    Refuse(OAuthError),
}

impl Provider {
    /// Answers a request from a browser in which `who` is signed in.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn authorize(
        &self,
        params: &Params,
        signed_in: Option<&SignedIn>,
    ) -> Result<AuthorizationOutcome, OAuthError> {
        let (request, client) = match self.read_request(params).await? {
            Ok(read) => read,
            Err(refused) => return Ok(self.refuse(refused)),
        };
        let Some(signed_in) = signed_in.filter(|signed_in| is_recent(&request, signed_in, self.clock.now()))
        else {
            return Ok(match request.prompt {
                Prompt::Never => {
                    let error = OAuthError::new(ErrorCode::LoginRequired, "nobody is signed in");
                    AuthorizationOutcome::Redirect(self.with_error(&request.target, &error))
                }
                Prompt::IfNeeded { .. } => AuthorizationOutcome::SignIn(request, client),
            });
        };
        let needed = self.needs_consent(&request, &client, signed_in).await?;
        match request.prompt {
            Prompt::Never if needed => {
                let error = OAuthError::new(ErrorCode::ConsentRequired, "the user has not allowed this");
                Ok(AuthorizationOutcome::Redirect(self.with_error(&request.target, &error)))
            }
            Prompt::IfNeeded { consent, .. } if needed || consent => {
                Ok(AuthorizationOutcome::Consent(request, client))
            }
            Prompt::Never | Prompt::IfNeeded { .. } => {
                self.give_code(&request, &client, signed_in).await.map(AuthorizationOutcome::Redirect)
            }
        }
    }

    /// Answers a request after the user has said yes or no to it. It is read again: what comes back from a browser may
    /// be another one.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn consent(
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
            let error = OAuthError::new(ErrorCode::AccessDenied, "the user said no");
            return Ok(AuthorizationOutcome::Redirect(self.with_error(&request.target, &error)));
        }
        let before = self.storage.consent(signed_in.user.id, &client.id).await?;
        let scope = before.map_or_else(|| request.scope.clone(), |before| before.and(&request.scope));
        self.storage.set_consent(signed_in.user.id, &client.id, &scope).await?;
        self.give_code(&request, &client, signed_in).await.map(AuthorizationOutcome::Redirect)
    }

    async fn read_request(
        &self,
        params: &Params,
    ) -> Result<Result<(AuthorizeRequest, Client), RejectedRequest>, OAuthError> {
        let unknown =
            || Err(RejectedRequest::ShowError(OAuthError::invalid_request("there is no such client")));
        let Some(id) = params.get("client_id").and_then(|id| id.parse().ok()) else { return Ok(unknown()) };
        let Some(client) = self.storage.client(&id).await? else { return Ok(unknown()) };
        Ok(AuthorizeRequest::read(params, &client).map(|request| (request, client)))
    }

    fn refuse(&self, refused: RejectedRequest) -> AuthorizationOutcome {
        match refused {
            RejectedRequest::ShowError(error) => AuthorizationOutcome::Refuse(error),
            RejectedRequest::RedirectError(target, error) => {
                AuthorizationOutcome::Redirect(self.with_error(&target, &error))
            }
        }
    }

    /// A public client proves nothing, so somebody else may speak in its name: the user is asked each time (RFC 8252
    /// section 8.6), unless it is one of the platform's own.
    async fn needs_consent(
        &self,
        request: &AuthorizeRequest,
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

    async fn give_code(
        &self,
        request: &AuthorizeRequest,
        client: &Client,
        signed_in: &SignedIn,
    ) -> Result<String, OAuthError> {
        let (code, digest) = self.random.secret("mgx_ac_");
        let expires_at = self.after(self.settings.code_lifetime);
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

    /// The redirect URI with an answer, which says whose it is (RFC 9207).
    fn answer(&self, target: &ResponseTarget, parameters: &[(&str, &str)]) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(parameters);
        if let Some(state) = &target.state {
            pairs.append_pair("state", state);
        }
        pairs.append_pair("iss", self.settings.issuer.as_str());
        let joint = if target.redirect_uri.contains('?') { '&' } else { '?' };
        let uri = format!("{}{joint}{}", target.redirect_uri, pairs.finish());
        debug_assert!(Url::parse(&uri).is_ok(), "{uri}");
        uri
    }
}

/// Whether the user has shown who they are as recently as the client wants.
fn is_recent(request: &AuthorizeRequest, signed_in: &SignedIn, now: Timestamp) -> bool {
    let again = match request.prompt {
        Prompt::Never => false,
        Prompt::IfNeeded { login, .. } => login,
    };
    !again && request.max_age.is_none_or(|most| now.duration_since(signed_in.session.auth_time) <= most)
}
