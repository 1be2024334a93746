//! Sessions of the platform's own pages: a cookie instead of a token that a script could read (the "backend for
//! frontend" of OAuth 2.0 for Browser-Based Applications).
//!
//! Such a session is opened with an authorization code, and ends with the sign-in at the provider that the code came
//! of.

use std::net::IpAddr;

use secrecy::SecretString;

use crate::accounts::browser_session::{BrowserSession, SignedIn};
use crate::base::digest::Digest;
use crate::base::error::OAuthError;
use crate::base::ids::{ClientId, SessionId};
use crate::flows::token_request::TokenRequest;
use crate::grants::grant::GrantFilter;
use crate::provider::{AuditContext, Provider};
use crate::storage::StorageError;
use crate::tokens::access_token::Subject;

/// A code for the platform's pages, with what the token request needs besides it.
#[derive(Debug)]
pub struct CodeExchange {
    /// The client of the pages.
    pub client: ClientId,
    /// The authorization code.
    pub code: SecretString,
    /// The redirect URI that the code was sent to.
    pub redirect_uri: String,
    /// The PKCE code verifier (RFC 7636).
    pub verifier: SecretString,
}

impl Provider {
    /// Opens a session of the pages and returns the new cookie. The code is redeemed, and its tokens are revoked at
    /// once.
    ///
    /// # Errors
    /// [`OAuthError`]; the user has to sign in again.
    pub async fn open_pages_session(
        &self,
        returned: CodeExchange,
        agent: &str,
        peer: IpAddr,
    ) -> Result<SecretString, OAuthError> {
        let CodeExchange { client, code, redirect_uri, verifier } = returned;
        let client = self.storage.client(&client).await?.filter(|client| client.first_party);
        let client = client.ok_or_else(OAuthError::unauthorized_client)?;
        let request = TokenRequest::Code { code, redirect_uri, verifier };
        let tokens = self.issue_tokens(&client, request, peer, None).await?;
        let gone = || OAuthError::invalid_grant();
        let access = self.own_tokens.verify(&tokens.access_token).map_err(|_| gone())?;
        let (Subject::User(user), Some(grant)) = (&access.subject, access.grant) else { return Err(gone()) };
        let of = self.storage.grant(grant).await?.and_then(|grant| grant.session).ok_or_else(gone)?;
        let context =
            AuditContext { user: Some(*user), client: Some(&client.id), by: None, peer: Some(peer) };
        // the session replaces the tokens, which would only be a risk
        self.revoke(&GrantFilter::Grant(grant), context).await?;
        let all = self.storage.sessions_of(*user, self.clock.now(), usize::MAX).await?;
        let parent = all.into_iter().find(|session| session.id == of).ok_or_else(gone)?;
        let (cookie, digest) = self.random.secret("mgx_ps_");
        let session = BrowserSession {
            id: SessionId(self.random.id()),
            cookie: digest,
            parent: Some(parent.id),
            agent: BrowserSession::shorten_agent(agent),
            ..parent
        };
        self.storage.add_session(&session).await?;
        Ok(cookie)
    }

    /// The user and session of a cookie of the platform's pages.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn pages_session(&self, cookie: &str) -> Result<Option<SignedIn>, StorageError> {
        self.session_of(cookie, |session| session.parent.is_some()).await
    }

    /// Signs the user with this cookie out, at the pages and at the provider, and revokes the grants made in this
    /// browser.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn close_pages_session(&self, cookie: &str) -> Result<(), StorageError> {
        let Some(SignedIn { session, user }) = self.pages_session(cookie).await? else { return Ok(()) };
        let context = AuditContext { user: Some(user.id), ..AuditContext::default() };
        self.sign_out(user.id, session.parent.unwrap_or(session.id), context).await
    }

    /// The user and session of a cookie, if the session satisfies `is_meant` and the user is not disabled.
    pub(crate) async fn session_of(
        &self,
        cookie: &str,
        is_meant: impl FnOnce(&BrowserSession) -> bool,
    ) -> Result<Option<SignedIn>, StorageError> {
        let session = self.storage.session_of_cookie(Digest::of(cookie), self.clock.now()).await?;
        let Some(session) = session.filter(is_meant) else { return Ok(None) };
        let user = self.storage.user(session.user).await?.filter(|user| !user.disabled);
        Ok(user.map(|user| SignedIn { session, user }))
    }
}
