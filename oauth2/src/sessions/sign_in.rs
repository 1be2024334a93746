//! Signing in with a password, and signing out.

use std::net::IpAddr;

use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};

use crate::accounts::audit::AuditEvent;
use crate::accounts::browser_session::{BrowserSession, SignedIn};
use crate::accounts::passwords::PasswordCheck;
use crate::accounts::user::User;
use crate::base::error::OAuthError;
use crate::base::ids::{SessionId, UserId, Username};
use crate::grants::grant::GrantFilter;
use crate::provider::{AuditContext, Provider};
use crate::storage::StorageError;

/// Why a sign-in failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInError {
    /// User name or password is wrong, or the user is disabled. Which one is not disclosed.
    Wrong,
    /// Too many failures. The user may try again after this time.
    Throttled(SignedDuration),
    /// The provider is overloaded, or its storage does not respond. The user may try again.
    Unavailable(OAuthError),
}

impl Provider {
    /// The user with this name and password. Takes as long if there is no such user.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn check_password(
        &self,
        name: &str,
        password: &SecretString,
        peer: IpAddr,
    ) -> Result<User, SignInError> {
        let longest = self.settings.throttle.max_delay;
        let begun = self.throttle.begin(name, peer, self.clock.now());
        let attempt = begun.map_err(|throttled| SignInError::Throttled(throttled.wait(longest)))?;
        let checked = self.compare(name, password).await;
        match checked {
            Ok(Some(user)) => {
                self.throttle.succeeded(attempt);
                Ok(user)
            }
            Ok(None) => {
                let event = AuditEvent::SignInFailed { in_a_row: attempt.in_a_row };
                self.record(event, AuditContext { peer: Some(peer), ..AuditContext::default() }).await;
                Err(SignInError::Wrong)
            }
            Err(error) => {
                self.throttle.cancelled(attempt);
                Err(SignInError::Unavailable(error))
            }
        }
    }

    async fn compare(&self, name: &str, password: &SecretString) -> Result<Option<User>, OAuthError> {
        let user = match name.parse::<Username>() {
            Ok(name) => self.storage.user_named(&name).await?,
            Err(_) => None,
        };
        let hash = user.as_ref().filter(|user| !user.disabled).and_then(|user| user.password.as_ref());
        let verified = self.passwords.verify(password.expose_secret(), hash).await?;
        Ok(match (verified, user) {
            (PasswordCheck::Correct, user) => user,
            (PasswordCheck::Rehashed(hash), Some(user)) => {
                // does nothing if the password was changed meanwhile
                let renewed = self.storage.set_password(user.id, user.password.as_ref(), &hash).await?;
                Some(if renewed { User { password: Some(hash), ..user } } else { user })
            }
            (PasswordCheck::Rehashed(_), None) | (PasswordCheck::Wrong, _) => None,
        })
    }

    /// Signs a user in and returns the new cookie. Another user who was signed in in the browser is signed out.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn sign_in(
        &self,
        user: &User,
        before: Option<&SignedIn>,
        agent: &str,
        peer: IpAddr,
    ) -> Result<SecretString, StorageError> {
        if let Some(before) = before {
            // the same user keeps the session and its grants, with a new cookie
            if before.user.id == user.id {
                self.storage.remove_session(before.session.id).await?;
            } else {
                self.sign_out(before.user.id, before.session.id, AuditContext::default()).await?;
            }
        }
        let (cookie, digest) = self.random.secret("mgx_bs_");
        let session = BrowserSession {
            id: before
                .filter(|before| before.user.id == user.id)
                .map_or_else(|| SessionId(self.random.id()), |before| before.session.id),
            cookie: digest,
            parent: None,
            user: user.id,
            auth_time: self.clock.now(),
            expires_at: self.time_after(self.settings.session_lifetime),
            agent: BrowserSession::shorten_agent(agent),
        };
        self.storage.add_session(&session).await?;
        let context = AuditContext { user: Some(user.id), client: None, by: None, peer: Some(peer) };
        self.record(AuditEvent::SignedIn, context).await;
        Ok(cookie)
    }

    /// The user and session of a cookie of the provider's pages.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn signed_in(&self, cookie: &str) -> Result<Option<SignedIn>, StorageError> {
        self.session_of(cookie, |session| session.parent.is_none()).await
    }

    /// Ends a session with the sessions of the platform's pages that came of it, and revokes the grants made in it.
    ///
    /// # Errors
    /// The storage does not respond.
    pub(crate) async fn sign_out(
        &self,
        user: UserId,
        session: SessionId,
        context: AuditContext<'_>,
    ) -> Result<(), StorageError> {
        let all = self.storage.sessions_of(user, self.clock.now(), usize::MAX).await?;
        for pages in all.iter().filter(|other| other.parent == Some(session)) {
            self.storage.remove_session(pages.id).await?;
        }
        self.storage.remove_session(session).await?;
        self.revoke(&GrantFilter::Session(session), context).await?;
        self.record(AuditEvent::SignedOut, context).await;
        Ok(())
    }
}
