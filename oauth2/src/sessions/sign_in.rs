//! Signing in with a password, and out again.

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

/// Why somebody is not signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInError {
    /// User name or password is wrong, or the user is disabled. Nobody learns which.
    Wrong,
    /// Too many wrong ones; come back after so long.
    Throttled(SignedDuration),
    /// Try again.
    Unavailable(OAuthError),
}

impl Provider {
    /// The user of this name, if it is their password. Takes as long if there is no such user.
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
                self.throttle.right(attempt);
                Ok(user)
            }
            Ok(None) => {
                let event = AuditEvent::SignInFailed { in_a_row: attempt.in_a_row };
                self.record(event, AuditContext { peer: Some(peer), ..AuditContext::default() }).await;
                Err(SignInError::Wrong)
            }
            Err(error) => {
                self.throttle.undone(attempt);
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
                // whoever sets another password meanwhile wins
                self.storage.set_password(user.id, user.password.as_ref(), &hash).await?;
                Some(user)
            }
            (PasswordCheck::Rehashed(_), None) | (PasswordCheck::Wrong, _) => None,
        })
    }

    /// Signs somebody in in a browser: the new cookie. Whoever was signed in there before is signed out.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn sign_in(
        &self,
        user: &User,
        before: Option<&SignedIn>,
        agent: &str,
        peer: IpAddr,
    ) -> Result<SecretString, StorageError> {
        if let Some(before) = before {
            // the same person goes on with the grants of this browser, under a new id
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
            expires_at: self.after(self.settings.session_lifetime),
            agent: BrowserSession::shorten_agent(agent),
        };
        self.storage.add_session(&session).await?;
        let context = AuditContext { user: Some(user.id), client: None, by: None, peer: Some(peer) };
        self.record(AuditEvent::SignedIn, context).await;
        Ok(cookie)
    }

    /// Who is signed in in the browser with this cookie.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn signed_in(&self, cookie: &str) -> Result<Option<SignedIn>, StorageError> {
        self.session_of(cookie, |session| session.parent.is_none()).await
    }

    /// Signs a user out in one browser, with everything that was allowed in it.
    ///
    /// # Errors
    /// The store does not answer.
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
