//! RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0): a client asks that its user be signed out.

use serde::Deserialize;

use crate::accounts::browser_session::SignedIn;
use crate::base::error::OAuthError;
use crate::base::ids::{ClientId, SessionId, UserId};
use crate::base::params::Params;
use crate::clients::client::Client;
use crate::provider::{AuditContext, Provider};
use crate::tokens::jws::{self, TokenType};

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogoutOutcome {
    /// The user is asked, because nothing shows that it is their client that asks.
    Ask,
    /// They are signed out; the browser goes there, or stays.
    Out(Option<String>),
    /// The request is wrong.
    Refuse(OAuthError),
}

/// What is read of an id token that a client shows again. It may have expired: it only says who is meant.
#[derive(Deserialize)]
struct Hint {
    iss: String,
    aud: ClientId,
    sub: UserId,
    #[serde(default)]
    sid: Option<SessionId>,
}

impl Provider {
    /// Signs out whoever is signed in in this browser, if their client asks for it with an id token of theirs, or if
    /// they have said so themselves.
    ///
    /// # Errors
    /// The store does not answer.
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
                None => return Ok(refuse("id_token_hint is no id token of ours")),
            },
        };
        let named = match params.get("client_id").map(str::parse::<ClientId>) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return Ok(refuse("there is no such client")),
        };
        let id = match (&hint, named) {
            (Some(hint), Some(id)) if hint.aud != id => {
                return Ok(refuse("client_id is another client's than id_token_hint"));
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

/// Where the browser goes afterwards: only where the client is registered with.
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
    let joint = if given.contains('?') { '&' } else { '?' };
    Ok(Some(format!("{given}{joint}{state}")))
}
