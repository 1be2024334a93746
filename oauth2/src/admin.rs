//! What is done to users and clients, and in whose name: they are added, changed and removed.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

use crate::audit::AuditEvent;
use crate::client::{BadClient, Client, ClientKind, GrantType};
use crate::grant::Whose;
use crate::ids::{ClientId, SessionId, UserId, Username};
use crate::passwords::Busy;
use crate::provider::{About, Provider};
use crate::redirect::{BadRedirect, RedirectUri};
use crate::scope::Scope;
use crate::secret::Digest;
use crate::storage::StorageError;
use crate::user::{PasswordHash, User};
use crate::weakness::Weakness;

/// The group of the platform's administrators.
pub const ADMIN: &str = "admin";

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

/// A client to be registered.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Its id; a random one, if there is none.
    pub id: Option<ClientId>,
    /// What people are shown.
    pub name: String,
    /// Whether it is given a secret.
    pub confidential: bool,
    /// Where browsers may be sent with a code.
    pub redirect_uris: Vec<String>,
    /// Where browsers may be sent after signing out.
    pub post_logout_redirect_uris: Vec<String>,
    /// How it may ask for tokens.
    pub grants: BTreeSet<GrantType>,
    /// What it may ask for.
    pub scope: Scope,
    /// Who is to accept its access tokens; itself, if there is nobody.
    pub audience: Option<String>,
    /// One of the platform's own.
    pub first_party: bool,
}

/// Somebody who changes accounts. What they do is in the audit log under their name.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    pub(crate) provider: &'a Provider,
    name: Option<&'a str>,
}

/// Why nothing was changed. The administrator does something else, or tries again.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The name or id is somebody else's.
    #[error("the name is taken")]
    Taken,
    /// There is no such user or client.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// Nobody may have this password.
    #[error(transparent)]
    Weak(#[from] Weakness),
    /// The client cannot be registered so.
    #[error(transparent)]
    Client(#[from] BadClient),
    /// The redirect URI cannot be registered.
    #[error("{uri}: {source}")]
    Redirect {
        /// Which.
        uri: String,
        /// Why.
        source: BadRedirect,
    },
    /// Too many sign in at once.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The store does not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Provider {
    /// Whoever is called so, to change something; `None`: the platform itself.
    pub fn actor<'a>(&'a self, name: Option<&'a str>) -> Actor<'a> {
        Actor { provider: self, name }
    }
}

impl<'a> Actor<'a> {
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
            id: UserId(self.provider.chance.id()),
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
        self.provider.note(AuditEvent::UserAdded, About { user: Some(user.id), ..self.about() }).await;
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
        let about = About { user: Some(id), ..self.about() };
        self.provider.storage.sign_out_everywhere(id).await?;
        self.provider.revoke(&Whose::User(id), about).await?;
        self.provider.throttle.forgive(user.name.as_str());
        self.provider.note(AuditEvent::PasswordSet, about).await;
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
        let about = About { user: Some(user.id), ..self.about() };
        if user.disabled || before.is_some_and(|before| !before.groups.is_subset(&user.groups)) {
            self.provider.storage.sign_out_everywhere(user.id).await?;
            self.provider.revoke(&Whose::User(user.id), about).await?;
        }
        self.provider.note(AuditEvent::UserChanged, about).await;
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
        self.provider.sign_out(user, id, About { user: Some(user), ..self.about() }).await?;
        Ok(true)
    }

    /// Removes a user.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn remove_user(&self, id: UserId) -> Result<(), AdminError> {
        let about = About { user: Some(id), ..self.about() };
        self.provider.revoke(&Whose::User(id), about).await?;
        if !self.provider.storage.remove_user(id).await? {
            return Err(AdminError::Unknown("user"));
        }
        self.provider.note(AuditEvent::UserRemoved, about).await;
        Ok(())
    }

    /// Registers a client; with its secret, which is stored nowhere.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn add_client(&self, new: NewClient) -> Result<(Client, Option<SecretString>), AdminError> {
        let (client, secret) = self.client_of(new)?;
        if self.provider.storage.client(&client.id).await?.is_some() {
            return Err(AdminError::Taken);
        }
        self.provider.storage.put_client(&client).await?;
        self.provider.note(AuditEvent::ClientAdded, About { client: Some(&client.id), ..self.about() }).await;
        Ok((client, secret))
    }

    /// Sees to it that a client is registered as `new` says, with this secret or with none. One that is registered with
    /// another secret is another client: what that was allowed goes with it.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn keep_client(&self, new: NewClient, secret: Option<&SecretString>) -> Result<(), AdminError> {
        let kind = secret.map_or(ClientKind::Public, |secret| ClientKind::Confidential {
            secrets: vec![Digest::of(secret.expose_secret())],
        });
        let (client, _) = self.client_of(NewClient { confidential: secret.is_some(), ..new })?;
        let client = Client { kind, ..client };
        let about = About { client: Some(&client.id), ..self.about() };
        match self.provider.storage.client(&client.id).await? {
            Some(before) if (Client { created_at: before.created_at, ..client.clone() }) == before => Ok(()),
            Some(before) if before.kind == client.kind => {
                self.provider
                    .storage
                    .put_client(&Client { created_at: before.created_at, ..client.clone() })
                    .await?;
                self.provider.note(AuditEvent::ClientChanged, about).await;
                Ok(())
            }
            other => {
                if other.is_some() {
                    self.remove_client(&client.id).await?;
                }
                self.provider.storage.put_client(&client).await?;
                self.provider.note(AuditEvent::ClientAdded, about).await;
                Ok(())
            }
        }
    }

    /// Who, for the audit log.
    pub(crate) fn about(&self) -> About<'a> {
        About { by: self.name, ..About::default() }
    }

    /// A client that may be registered, with its secret if it has one.
    fn client_of(&self, new: NewClient) -> Result<(Client, Option<SecretString>), AdminError> {
        let random = || format!("client-{}", &self.provider.chance.text()[..20]);
        let id = new.id.unwrap_or_else(|| random().parse().expect("base64url is a client id"));
        let (kind, secret) = if new.confidential {
            let (secret, digest) = self.provider.chance.secret("mgx_cs_");
            (ClientKind::Confidential { secrets: vec![digest] }, Some(secret))
        } else {
            (ClientKind::Public, None)
        };
        let client = Client {
            audience: new.audience.unwrap_or_else(|| id.to_string()),
            id,
            name: new.name,
            kind,
            redirect_uris: self.redirects(new.redirect_uris)?,
            post_logout_redirect_uris: self.redirects(new.post_logout_redirect_uris)?,
            grants: new.grants,
            scope: new.scope,
            first_party: new.first_party,
            created_at: self.provider.clock.now(),
        };
        client.check()?;
        Ok((client, secret))
    }

    /// Changes where browsers may be sent for a client, and how it may ask.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn change_client(&self, client: &Client) -> Result<(), AdminError> {
        client.check()?;
        if self.provider.storage.client(&client.id).await?.is_none() {
            return Err(AdminError::Unknown("client"));
        }
        self.provider.storage.put_client(client).await?;
        self.provider
            .note(AuditEvent::ClientChanged, About { client: Some(&client.id), ..self.about() })
            .await;
        Ok(())
    }

    /// Gives a client a new secret. The one before it goes on counting if `overlap`, until the next time.
    ///
    /// # Errors
    /// [`AdminError`]; a public client has no secret.
    pub async fn renew_secret(&self, id: &ClientId, overlap: bool) -> Result<SecretString, AdminError> {
        let mut client = self.provider.storage.client(id).await?.ok_or(AdminError::Unknown("client"))?;
        let ClientKind::Confidential { secrets } = &mut client.kind else {
            return Err(AdminError::Client(BadClient::NoSecret));
        };
        let (secret, digest): (SecretString, Digest) = self.provider.chance.secret("mgx_cs_");
        secrets.truncate(usize::from(overlap));
        secrets.insert(0, digest);
        self.provider.storage.put_client(&client).await?;
        self.provider.note(AuditEvent::ClientChanged, About { client: Some(id), ..self.about() }).await;
        Ok(secret)
    }

    /// Removes a client, with everything that it was allowed.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn remove_client(&self, id: &ClientId) -> Result<(), AdminError> {
        let about = About { client: Some(id), ..self.about() };
        self.provider.revoke(&Whose::Client(id.clone()), about).await?;
        if !self.provider.storage.remove_client(id).await? {
            return Err(AdminError::Unknown("client"));
        }
        self.provider.note(AuditEvent::ClientRemoved, about).await;
        Ok(())
    }

    fn redirects(&self, uris: Vec<String>) -> Result<Vec<RedirectUri>, AdminError> {
        let register = |uri: String| {
            RedirectUri::register(&uri, &self.provider.settings.issuer)
                .map_err(|source| AdminError::Redirect { uri, source })
        };
        uris.into_iter().map(register).collect()
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
        let random = SecretString::from(&self.provider.chance.text()[..22]);
        Ok((passwords.hash(random.expose_secret()).await?, Some(random)))
    }
}
