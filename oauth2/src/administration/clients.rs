//! Registering, changing and removing clients.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

use crate::accounts::audit::AuditEvent;
use crate::administration::{AdminError, Administration};
use crate::base::digest::Digest;
use crate::base::ids::ClientId;
use crate::base::scope::Scope;
use crate::clients::client::{BadClient, Client, ClientKind};
use crate::clients::grant_type::GrantType;
use crate::clients::redirect_uri::RedirectUri;
use crate::grants::grant::GrantFilter;
use crate::provider::AuditContext;

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

impl Administration<'_> {
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
        self.provider
            .record(AuditEvent::ClientAdded, AuditContext { client: Some(&client.id), ..self.context() })
            .await;
        Ok((client, secret))
    }

    /// Sees to it that a client is registered as `new` says, with this secret or with none. One that is registered with
    /// another secret is another client: what that was allowed goes with it.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn ensure_client(
        &self,
        new: NewClient,
        secret: Option<&SecretString>,
    ) -> Result<(), AdminError> {
        let kind = secret.map_or(ClientKind::Public, |secret| ClientKind::Confidential {
            secrets: vec![Digest::of(secret.expose_secret())],
        });
        let (client, _) = self.client_of(NewClient { confidential: secret.is_some(), ..new })?;
        let client = Client { kind, ..client };
        let context = AuditContext { client: Some(&client.id), ..self.context() };
        match self.provider.storage.client(&client.id).await? {
            Some(before) if (Client { created_at: before.created_at, ..client.clone() }) == before => Ok(()),
            Some(before) if before.kind == client.kind => {
                self.provider
                    .storage
                    .put_client(&Client { created_at: before.created_at, ..client.clone() })
                    .await?;
                self.provider.record(AuditEvent::ClientChanged, context).await;
                Ok(())
            }
            other => {
                if other.is_some() {
                    self.remove_client(&client.id).await?;
                }
                self.provider.storage.put_client(&client).await?;
                self.provider.record(AuditEvent::ClientAdded, context).await;
                Ok(())
            }
        }
    }

    /// A client that may be registered, with its secret if it has one.
    fn client_of(&self, new: NewClient) -> Result<(Client, Option<SecretString>), AdminError> {
        let random = || format!("client-{}", &self.provider.random.text()[..20]);
        let id = new.id.unwrap_or_else(|| random().parse().expect("base64url is a client id"));
        let (kind, secret) = if new.confidential {
            let (secret, digest) = self.provider.random.secret("mgx_cs_");
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
            .record(AuditEvent::ClientChanged, AuditContext { client: Some(&client.id), ..self.context() })
            .await;
        Ok(())
    }

    /// Gives a client a new secret. The one before it goes on counting if `overlap`, until the next time.
    ///
    /// # Errors
    /// [`AdminError`]; a public client has no secret.
    pub async fn rotate_client_secret(
        &self,
        id: &ClientId,
        overlap: bool,
    ) -> Result<SecretString, AdminError> {
        let mut client = self.provider.storage.client(id).await?.ok_or(AdminError::Unknown("client"))?;
        let ClientKind::Confidential { secrets } = &mut client.kind else {
            return Err(AdminError::Client(BadClient::NoSecret));
        };
        let (secret, digest): (SecretString, Digest) = self.provider.random.secret("mgx_cs_");
        secrets.truncate(usize::from(overlap));
        secrets.insert(0, digest);
        self.provider.storage.put_client(&client).await?;
        self.provider
            .record(AuditEvent::ClientChanged, AuditContext { client: Some(id), ..self.context() })
            .await;
        Ok(secret)
    }

    /// Removes a client, with everything that it was allowed.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn remove_client(&self, id: &ClientId) -> Result<(), AdminError> {
        let context = AuditContext { client: Some(id), ..self.context() };
        self.provider.revoke(&GrantFilter::Client(id.clone()), context).await?;
        if !self.provider.storage.remove_client(id).await? {
            return Err(AdminError::Unknown("client"));
        }
        self.provider.record(AuditEvent::ClientRemoved, context).await;
        Ok(())
    }

    fn redirects(&self, uris: Vec<String>) -> Result<Vec<RedirectUri>, AdminError> {
        let register = |uri: String| {
            RedirectUri::register(&uri, &self.provider.settings.issuer)
                .map_err(|source| AdminError::Redirect { uri, source })
        };
        uris.into_iter().map(register).collect()
    }
}
