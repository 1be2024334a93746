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
    /// The name entered at sign-in.
    pub name: Username,
    /// The name shown to other users and to clients.
    pub display_name: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether an administrator vouches that the address is the user's.
    pub email_verified: bool,
    /// The groups of the user.
    pub groups: BTreeSet<String>,
    /// The first password; if none, a random one.
    pub password: Option<SecretString>,
}

/// A password that is about to be stored.
struct NewPassword {
    hash: PasswordHash,
    /// The password itself if it was made here, to be shown once. A chosen one is never returned.
    random: Option<SecretString>,
}

impl Administration<'_> {
    /// Adds the administrator `admin` if there are no users. Without `password` a random one is made and returned, to
    /// be shown once.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn add_first_admin(
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
            email_verified: false,
            groups: BTreeSet::from([ADMIN.to_owned()]),
            password,
        };
        match self.add_user(new).await {
            Ok((_, password)) => Ok(password),
            // another process has added the user meanwhile
            Err(AdminError::Taken) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a user. Without a password in `new` a random one is made and returned, to be shown once.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn add_user(&self, new: NewUser) -> Result<(User, Option<SecretString>), AdminError> {
        let NewUser { name, display_name, email, email_verified, groups, password } = new;
        let NewPassword { hash, random } = self.new_password(password, &name).await?;
        let now = self.provider.clock.now();
        let user = User {
            id: UserId(self.provider.random.id()),
            name,
            display_name,
            email,
            email_verified,
            groups,
            password: Some(hash),
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

    /// Sets the password of a user, ends their sessions, revokes their grants, and clears their failed sign-ins.
    /// Without `password` a random one is made and returned, to be shown once.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_password(
        &self,
        id: UserId,
        password: Option<SecretString>,
    ) -> Result<Option<SecretString>, AdminError> {
        let user = self.provider.storage.user(id).await?.ok_or(AdminError::Unknown("user"))?;
        let NewPassword { hash, random } = self.new_password(password, &user.name).await?;
        if !self.provider.storage.set_password(id, user.password.as_ref(), &hash).await? {
            return Err(AdminError::Taken);
        }
        let context = AuditContext { user: Some(id), ..self.context() };
        self.provider.storage.remove_sessions_of(id).await?;
        self.provider.revoke(&GrantFilter::User(id), context).await?;
        self.provider.throttle.clear_account(user.name.as_str());
        self.provider.record(AuditEvent::PasswordSet, context).await;
        Ok(random)
    }

    /// Replaces a user, except for the password. If the user is disabled or leaves a group, their sessions end and
    /// their grants are revoked, because tokens name the groups.
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

    /// Ends a browser session of a user and revokes the grants made in it. Whether there was one.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn end_session(&self, user: UserId, id: SessionId) -> Result<bool, StorageError> {
        let theirs = self.provider.storage.sessions_of(user, self.provider.clock.now(), usize::MAX).await?;
        if !theirs.iter().any(|session| session.id == id) {
            return Ok(false);
        }
        self.provider.sign_out(user, id, AuditContext { user: Some(user), ..self.context() }).await?;
        Ok(true)
    }

    /// Removes a user with everything that belongs to them.
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

    /// The password that was chosen, or a random one of 128 bits if none was.
    async fn new_password(
        &self,
        chosen: Option<SecretString>,
        name: &Username,
    ) -> Result<NewPassword, AdminError> {
        let passwords = &self.provider.passwords;
        if let Some(chosen) = chosen {
            passwords.check(chosen.expose_secret(), name.as_str())?;
            return Ok(NewPassword { hash: passwords.hash(chosen.expose_secret()).await?, random: None });
        }
        let random = SecretString::from(&self.provider.random.text()[..22]);
        Ok(NewPassword { hash: passwords.hash(random.expose_secret()).await?, random: Some(random) })
    }
}
