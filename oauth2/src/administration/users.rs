//! Adding, changing and removing users.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

use crate::accounts::audit::AuditEvent;
use crate::accounts::user::{PasswordHash, User};
use crate::administration::{ADMIN, AdminError, Administration};
use crate::base::ids::{SessionId, UserId, Username};
use crate::grants::grant::GrantFilter;
use crate::provider::AuditContext;
use crate::storage::StorageError;

/// A user to be added.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// What they sign in with.
    pub name: Username,
    /// What others are shown.
    pub display_name: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// Which groups they belong to.
    pub groups: BTreeSet<String>,
    /// Their first password; a random one, if there is none.
    pub password: Option<SecretString>,
}

impl Administration<'_> {
    /// Adds the first administrator, called `admin`, if there is no user at all; with the random password, to be shown
    /// once, unless the operator has set one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn first_admin(
        &self,
        password: Option<SecretString>,
    ) -> Result<Option<SecretString>, AdminError> {
        if !self.provider.storage.users(None, 1).await?.is_empty() {
            return Ok(None);
        }
        let new = NewUser {
            name: ADMIN.parse().expect("a plain word is a name"),
            display_name: "Administrator".to_owned(),
            email: None,
            groups: BTreeSet::from([ADMIN.to_owned()]),
            password,
        };
        match self.add_user(new).await {
            Ok((_, password)) => Ok(password),
            // another process was faster
            Err(AdminError::Taken) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a user; with their random password, to be shown once, if none was chosen.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn add_user(&self, new: NewUser) -> Result<(User, Option<SecretString>), AdminError> {
        let NewUser { name, display_name, email, groups, password } = new;
        let (password, random) = self.hashed(password, &name).await?;
        let now = self.provider.clock.now();
        let user = User {
            id: UserId(self.provider.random.id()),
            name,
            display_name,
            email,
            groups,
            password: Some(password),
            disabled: false,
            created_at: now,
            updated_at: now,
        };
        if !self.provider.storage.add_user(&user).await? {
            return Err(AdminError::Taken);
        }
        self.provider
            .record(AuditEvent::UserAdded, AuditContext { user: Some(user.id), ..self.context() })
            .await;
        Ok((user, random))
    }

    /// Gives a user a new password; a random one, to be shown once, if none was chosen. They are signed out everywhere,
    /// and nothing is held against whoever guesses at them.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_password(
        &self,
        id: UserId,
        password: Option<SecretString>,
    ) -> Result<Option<SecretString>, AdminError> {
        let user = self.provider.storage.user(id).await?.ok_or(AdminError::Unknown("user"))?;
        let (hash, random) = self.hashed(password, &user.name).await?;
        if !self.provider.storage.set_password(id, user.password.as_ref(), &hash).await? {
            return Err(AdminError::Taken);
        }
        let context = AuditContext { user: Some(id), ..self.context() };
        self.provider.storage.remove_sessions_of(id).await?;
        self.provider.revoke(&GrantFilter::User(id), context).await?;
        self.provider.throttle.forgive(user.name.as_str());
        self.provider.record(AuditEvent::PasswordSet, context).await;
        Ok(random)
    }

    /// Changes a user, all but the password. One who is disabled, or leaves a group, is signed out everywhere: what
    /// they hold says otherwise.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn change_user(&self, user: &User) -> Result<(), AdminError> {
        let user = User { updated_at: self.provider.clock.now(), ..user.clone() };
        let before = self.provider.storage.user(user.id).await?;
        if !self.provider.storage.change_user(&user).await? {
            let known = self.provider.storage.user(user.id).await?.is_some();
            return Err(if known { AdminError::Taken } else { AdminError::Unknown("user") });
        }
        let context = AuditContext { user: Some(user.id), ..self.context() };
        if user.disabled || before.is_some_and(|before| !before.groups.is_subset(&user.groups)) {
            self.provider.storage.remove_sessions_of(user.id).await?;
            self.provider.revoke(&GrantFilter::User(user.id), context).await?;
        }
        self.provider.record(AuditEvent::UserChanged, context).await;
        Ok(())
    }

    /// Signs a user out in one of their browsers, with everything that was allowed in it. Whether there was one.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn end_session(&self, user: UserId, id: SessionId) -> Result<bool, StorageError> {
        let theirs = self.provider.storage.sessions_of(user, self.provider.clock.now(), usize::MAX).await?;
        if !theirs.iter().any(|session| session.id == id) {
            return Ok(false);
        }
        self.provider.sign_out(user, id, AuditContext { user: Some(user), ..self.context() }).await?;
        Ok(true)
    }

    /// Removes a user.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn remove_user(&self, id: UserId) -> Result<(), AdminError> {
        let context = AuditContext { user: Some(id), ..self.context() };
        self.provider.revoke(&GrantFilter::User(id), context).await?;
        if !self.provider.storage.remove_user(id).await? {
            return Err(AdminError::Unknown("user"));
        }
        self.provider.record(AuditEvent::UserRemoved, context).await;
        Ok(())
    }

    /// The hash of the password that somebody chose, or of a random one of 128 bits; and that one.
    async fn hashed(
        &self,
        chosen: Option<SecretString>,
        name: &Username,
    ) -> Result<(PasswordHash, Option<SecretString>), AdminError> {
        let passwords = &self.provider.passwords;
        if let Some(chosen) = chosen {
            passwords.check(chosen.expose_secret(), name.as_str())?;
            return Ok((passwords.hash(chosen.expose_secret()).await?, None));
        }
        let random = SecretString::from(&self.provider.random.text()[..22]);
        Ok((passwords.hash(random.expose_secret()).await?, Some(random)))
    }
}
