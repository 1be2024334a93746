//! The authorization code flow up to the code (RFC 6749 section 4.1, RFC 7636, RFC 9207).

use jiff::Timestamp;
use secrecy::ExposeSecret;
use url::Url;

use crate::audit::AuditEvent;
use crate::browser::BrowserSession;
use crate::client::{Client, GrantType};
use crate::error::{ErrorCode, OAuthError};
use crate::grant::{Code, Grant};
use crate::ids::GrantId;
use crate::params::Params;
use crate::provider::{About, Provider};
use crate::request::{AuthorizeRequest, Prompt, Refused, Target};
use crate::user::User;

/// What happens next with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nobody is signed in, or not recently enough.
    SignIn(AuthorizeRequest, Client),
    /// The user is asked whether they allow it.
    Consent(AuthorizeRequest, Client),
    /// The browser is sent there: with a code, or with an error that the client can act on.
    Redirect(String),
    /// The browser stays here.
    Refuse(OAuthError),
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Where.
    pub session: BrowserSession,
    /// Who.
    pub user: User,
}

impl Provider {
    /// Answers a request from a browser in which `who` is signed in.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn authorize(&self, params: &Params, who: Option<&SignedIn>) -> Result<Next, OAuthError> {
        let (request, client) = match self.read_request(params).await? {
            Ok(read) => read,
            Err(refused) => return Ok(self.refuse(refused)),
        };
        let Some(who) = who.filter(|who| is_recent(&request, who, self.clock.now())) else {
            return Ok(match request.prompt {
                Prompt::Nothing => {
                    let error = OAuthError::new(ErrorCode::LoginRequired, "nobody is signed in");
                    Next::Redirect(self.with_error(&request.target, &error))
                }
                Prompt::Necessary { .. } => Next::SignIn(request, client),
            });
        };
        let needed = self.needs_consent(&request, &client, who).await?;
        match request.prompt {
            Prompt::Nothing if needed => {
                let error = OAuthError::new(ErrorCode::ConsentRequired, "the user has not allowed this");
                Ok(Next::Redirect(self.with_error(&request.target, &error)))
            }
            Prompt::Necessary { consent, .. } if needed || consent => Ok(Next::Consent(request, client)),
            Prompt::Nothing | Prompt::Necessary { .. } => {
                self.give_code(&request, &client, who).await.map(Next::Redirect)
            }
        }
    }

    /// Answers a request after the user has said yes or no to it. It is read again: what comes back from a browser may
    /// be another one.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn consent(&self, params: &Params, who: &SignedIn, allowed: bool) -> Result<Next, OAuthError> {
        let (request, client) = match self.read_request(params).await? {
            Ok(read) => read,
            Err(refused) => return Ok(self.refuse(refused)),
        };
        if !allowed {
            let error = OAuthError::new(ErrorCode::AccessDenied, "the user said no");
            return Ok(Next::Redirect(self.with_error(&request.target, &error)));
        }
        let before = self.storage.consent(who.user.id, &client.id).await?;
        let scope = before.map_or_else(|| request.scope.clone(), |before| before.and(&request.scope));
        self.storage.remember_consent(who.user.id, &client.id, &scope).await?;
        self.give_code(&request, &client, who).await.map(Next::Redirect)
    }

    async fn read_request(
        &self,
        params: &Params,
    ) -> Result<Result<(AuthorizeRequest, Client), Refused>, OAuthError> {
        let unknown = || Err(Refused::Here(OAuthError::invalid_request("there is no such client")));
        let Some(id) = params.get("client_id").and_then(|id| id.parse().ok()) else { return Ok(unknown()) };
        let Some(client) = self.storage.client(&id).await? else { return Ok(unknown()) };
        Ok(AuthorizeRequest::read(params, &client).map(|request| (request, client)))
    }

    fn refuse(&self, refused: Refused) -> Next {
        match refused {
            Refused::Here(error) => Next::Refuse(error),
            Refused::There(target, error) => Next::Redirect(self.with_error(&target, &error)),
        }
    }

    /// A public client proves nothing, so somebody else may speak in its name: the user is asked each time (RFC 8252
    /// section 8.6), unless it is one of the platform's own.
    async fn needs_consent(
        &self,
        request: &AuthorizeRequest,
        client: &Client,
        who: &SignedIn,
    ) -> Result<bool, OAuthError> {
        if client.first_party {
            return Ok(false);
        }
        if client.is_public() {
            return Ok(true);
        }
        let before = self.storage.consent(who.user.id, &client.id).await?;
        Ok(before.is_none_or(|before| !request.scope.is_within(&before)))
    }

    async fn give_code(
        &self,
        request: &AuthorizeRequest,
        client: &Client,
        who: &SignedIn,
    ) -> Result<String, OAuthError> {
        let (code, digest) = self.chance.secret("mgx_ac_");
        let expires_at = self.after(self.settings.code);
        let grant = Grant {
            id: GrantId(self.chance.id()),
            user: who.user.id,
            client: client.id.clone(),
            scope: request.scope.clone(),
            session: Some(who.session.id),
            auth_time: who.session.auth_time,
            created_at: self.clock.now(),
            expires_at,
            refresh: None,
            revoked_at: None,
        };
        let stored = Code {
            digest,
            grant: grant.id,
            redirect_uri: request.target.redirect_uri.clone(),
            challenge: request.challenge.clone(),
            nonce: request.nonce.clone(),
            expires_at,
            used: false,
        };
        self.storage.open(&grant, Some(&stored)).await?;
        let about = About { user: Some(who.user.id), client: Some(&client.id), by: None, peer: None };
        self.note(AuditEvent::Allowed { grant: grant.id, how: GrantType::AuthorizationCode }, about).await;
        Ok(self.answer(&request.target, &[("code", code.expose_secret())]))
    }

    fn with_error(&self, target: &Target, error: &OAuthError) -> String {
        self.answer(target, &[("error", error.code.name()), ("error_description", &error.detail)])
    }

    /// The redirect URI with an answer, which says whose it is (RFC 9207).
    fn answer(&self, target: &Target, parameters: &[(&str, &str)]) -> String {
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
fn is_recent(request: &AuthorizeRequest, who: &SignedIn, now: Timestamp) -> bool {
    let again = match request.prompt {
        Prompt::Nothing => false,
        Prompt::Necessary { login, .. } => login,
    };
    !again && request.max_age.is_none_or(|most| now.duration_since(who.session.auth_time) <= most)
}
