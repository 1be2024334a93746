//! Changing one's own password.

use std::net::IpAddr;

use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};

use crate::accounts::audit::AuditEvent;
use crate::accounts::password_rules::WeakPassword;
use crate::accounts::passwords::Busy;
use crate::accounts::user::User;
use crate::base::error::OAuthError;
use crate::base::ids::SessionId;
use crate::grants::grant::GrantFilter;
use crate::provider::{AuditContext, Provider};
use crate::sessions::sign_in::SignInError;
use crate::storage::StorageError;

/// Two passwords from a user: the current one, which proves who it is, and the one to be set.
#[derive(Debug)]
pub struct PasswordChange {
    /// The password that the user has.
    pub current: SecretString,
    /// The password that the user wants.
    pub new: SecretString,
    /// The browser session in which the user does it. It goes on, unlike all others.
    pub session: Option<SessionId>,
}

/// Why the password was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordChangeError {
    /// The current password is wrong, or was changed meanwhile.
    Wrong,
    /// Too many wrong passwords. The user may try again after this time.
    Throttled(SignedDuration),
    /// The new password breaks a rule.
    Weak(WeakPassword),
    /// The provider is overloaded, or its storage does not respond. The user may try again.
    Unavailable(OAuthError),
}

impl Provider {
    /// Sets the password that a user has chosen, ends the user's other browser sessions, and revokes all grants. API
    /// tokens stay valid, as after a new password from an administrator. A wrong current password counts as a failed
    /// sign-in.
    ///
    /// # Errors
    /// [`PasswordChangeError`].
    pub async fn change_password(
        &self,
        user: &User,
        change: PasswordChange,
        peer: IpAddr,
    ) -> Result<(), PasswordChangeError> {
        let PasswordChange { current, new, session } = change;
        self.passwords.check(new.expose_secret(), user.name.as_str()).map_err(PasswordChangeError::Weak)?;
        let user = self.check_password(user.name.as_str(), &current, peer).await?;
        let hash = self.passwords.hash(new.expose_secret()).await?;
        if !self.storage.set_password(user.id, user.password.as_ref(), &hash).await? {
            return Err(PasswordChangeError::Wrong);
        }
        for other in self.storage.sessions_of(user.id, self.clock.now(), usize::MAX).await? {
            if session.is_none() || (Some(other.id) != session && other.parent != session) {
                self.storage.remove_session(other.id).await?;
            }
        }
        let context = AuditContext { user: Some(user.id), client: None, by: None, peer: Some(peer) };
        self.revoke(&GrantFilter::User(user.id), context).await?;
        self.throttle.clear_account(user.name.as_str());
        self.record(AuditEvent::PasswordSet, context).await;
        Ok(())
    }
}

impl From<SignInError> for PasswordChangeError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Wrong => Self::Wrong,
            SignInError::Throttled(wait) => Self::Throttled(wait),
            SignInError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<Busy> for PasswordChangeError {
    fn from(busy: Busy) -> Self {
        Self::Unavailable(busy.into())
    }
}

impl From<StorageError> for PasswordChangeError {
    fn from(error: StorageError) -> Self {
        Self::Unavailable(error.into())
    }
}
