//! Logout requested by a client (OpenID Connect RP-Initiated Logout 1.0).

use serde::Deserialize;

use crate::accounts::browser_session::SignedIn;
use crate::base::error::OAuthError;
use crate::base::ids::{ClientId, SessionId, UserId};
use crate::base::params::Params;
use crate::clients::client::Client;
use crate::clients::redirect_uri::with_query;
use crate::provider::{AuditContext, Provider};
use crate::tokens::jws::{self, TokenType};

/// The result of a logout request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogoutOutcome {
    /// The user has to confirm: the request does not prove that it comes from a client of the user.
    Ask,
    /// The user is signed out. The browser is redirected, if the client gave a URI.
    Out(Option<String>),
    /// The request is not valid.
    Refuse(OAuthError),
}

/// The claims that are read from `id_token_hint`. The token may have expired, because it only identifies the session.
#[derive(Deserialize)]
struct Hint {
    iss: String,
    aud: ClientId,
    sub: UserId,
    #[serde(default)]
    sid: Option<SessionId>,
}

impl Provider {
    /// Signs the user of this browser out if the request has an id token of this session, or the user has confirmed.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn logout(
        &self,
        params: &Params,
        signed_in: Option<&SignedIn>,
        confirmed: bool,
    ) -> Result<LogoutOutcome, OAuthError> {
        let hint = match params.get("id_token_hint") {
            None => None,
            Some(text) => match self.hint(text) {
                Some(hint) => Some(hint),
                None => return Ok(refuse("id_token_hint is not an id token of this issuer")),
            },
        };
        let named = match params.get("client_id").map(str::parse::<ClientId>) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return Ok(refuse("the client is unknown")),
        };
        let id = match (&hint, named) {
            (Some(hint), Some(id)) if hint.aud != id => {
                return Ok(refuse("client_id and id_token_hint name different clients"));
            }
            (Some(hint), _) => Some(hint.aud.clone()),
            (None, named) => named,
        };
        let client = match id {
            Some(id) => self.storage.client(&id).await?,
            None => None,
        };
        let target = match target(params, client.as_ref()) {
            Ok(target) => target,
            Err(error) => return Ok(LogoutOutcome::Refuse(error)),
        };
        let Some(signed_in) = signed_in else { return Ok(LogoutOutcome::Out(target)) };
        let meant = hint.is_some_and(|hint| {
            hint.sub == signed_in.user.id && hint.sid.is_none_or(|session| session == signed_in.session.id)
        });
        if !confirmed && !meant {
            return Ok(LogoutOutcome::Ask);
        }
        let context = AuditContext {
            user: Some(signed_in.user.id),
            client: client.as_ref().map(|client| &client.id),
            by: None,
            peer: None,
        };
        self.sign_out(signed_in.user.id, signed_in.session.id, context).await?;
        Ok(LogoutOutcome::Out(target))
    }

    fn hint(&self, token: &str) -> Option<Hint> {
        let signed = jws::verify::<Hint>(token, TokenType::Id, self.keys.public(), self.clock.now()).ok()?;
        Some(signed.claims).filter(|hint| hint.iss == self.settings.issuer.as_str())
    }
}

fn refuse(detail: &'static str) -> LogoutOutcome {
    LogoutOutcome::Refuse(OAuthError::invalid_request(detail))
}

/// The URI to redirect to, which has to be registered for the client.
fn target(params: &Params, client: Option<&Client>) -> Result<Option<String>, OAuthError> {
    let Some(given) = params.get("post_logout_redirect_uri") else { return Ok(None) };
    let known =
        client.is_some_and(|client| client.post_logout_redirect_uris.iter().any(|known| known.admits(given)));
    if !known {
        let detail = "the client is not registered with this post_logout_redirect_uri";
        return Err(OAuthError::invalid_request(detail));
    }
    let Some(state) = params.get("state") else { return Ok(Some(given.to_owned())) };
    let state = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
    Ok(Some(with_query(given, &state)))
}
