//! Registering, changing and removing clients.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

use crate::accounts::audit::AuditEvent;
use crate::administration::{AdminError, Administration};
use crate::base::digest::Digest;
use crate::base::ids::ClientId;
use crate::base::scope::Scope;
use crate::base::signing_algorithm::SigningAlgorithm;
use crate::clients::client::{BadClient, Client, ClientKind};
use crate::clients::grant_type::GrantType;
use crate::clients::redirect_uri::RedirectUri;
use crate::grants::grant::GrantFilter;
use crate::provider::AuditContext;
use crate::storage::StorageError;

/// A client to be registered.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Its id; if none, a random one.
    pub id: Option<ClientId>,
    /// The name shown to users.
    pub name: String,
    /// Whether it is given a secret.
    pub confidential: bool,
    /// Where browsers may be sent with a code.
    pub redirect_uris: Vec<String>,
    /// Where browsers may be sent after signing out.
    pub post_logout_redirect_uris: Vec<String>,
    /// The grant types that it may use.
    pub grants: BTreeSet<GrantType>,
    /// The scope that it may request.
    pub scope: Scope,
    /// The audience of its access tokens; if none, the client's id.
    pub audience: Option<String>,
    /// The algorithm that its id tokens are signed with.
    pub id_token_alg: SigningAlgorithm,
    /// Whether it is one of the platform's own clients.
    pub first_party: bool,
}

/// A change of a client. What is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ClientChange {
    /// The name shown to users.
    pub name: Option<String>,
    /// Where browsers may be sent with a code.
    pub redirect_uris: Option<Vec<String>>,
    /// Where browsers may be sent after signing out.
    pub post_logout_redirect_uris: Option<Vec<String>>,
    /// The grant types that it may use.
    pub grants: Option<BTreeSet<GrantType>>,
    /// The scope that it may request. What is not in it any more is in none of its next tokens.
    pub scope: Option<Scope>,
    /// The audience of its access tokens.
    pub audience: Option<String>,
    /// The algorithm that its id tokens are signed with.
    pub id_token_alg: Option<SigningAlgorithm>,
}

impl Administration<'_> {
    /// Registers a client. The secret is returned once; only its hash is stored.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn add_client(&self, new: NewClient) -> Result<(Client, Option<SecretString>), AdminError> {
        let (client, secret) = self.new_client(new)?;
        if self.provider.storage.client(&client.id).await?.is_some() {
            return Err(AdminError::Taken);
        }
        self.put(&client).await?;
        self.provider
            .record(AuditEvent::ClientAdded, AuditContext { client: Some(&client.id), ..self.context() })
            .await;
        Ok((client, secret))
    }

    /// Registers or updates a client so that it is as `new` describes, with this secret or without one. A client that
    /// is registered with another secret counts as another client: it is removed first, with its grants.
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
        let (client, _) = self.new_client(NewClient { confidential: secret.is_some(), ..new })?;
        let client = Client { kind, ..client };
        let context = AuditContext { client: Some(&client.id), ..self.context() };
        match self.provider.storage.client(&client.id).await? {
            Some(before) if (Client { created_at: before.created_at, ..client.clone() }) == before => Ok(()),
            Some(before) if before.kind == client.kind => {
                self.put(&Client { created_at: before.created_at, ..client.clone() }).await?;
                self.provider.record(AuditEvent::ClientChanged, context).await;
                Ok(())
            }
            other => {
                if other.is_some() {
                    self.remove_client(&client.id).await?;
                }
                self.put(&client).await?;
                self.provider.record(AuditEvent::ClientAdded, context).await;
                Ok(())
            }
        }
    }

    /// A checked registration, with the secret of a confidential client.
    fn new_client(&self, new: NewClient) -> Result<(Client, Option<SecretString>), AdminError> {
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
            redirect_uris: self.register_redirect_uris(new.redirect_uris)?,
            post_logout_redirect_uris: self.register_redirect_uris(new.post_logout_redirect_uris)?,
            grants: new.grants,
            scope: new.scope,
            id_token_alg: new.id_token_alg,
            first_party: new.first_party,
            created_at: self.provider.clock.now(),
        };
        client.check()?;
        Ok((client, secret))
    }

    /// Changes the registration of a client, which keeps its id, its secrets and its grants.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn change_client(&self, id: &ClientId, change: ClientChange) -> Result<Client, AdminError> {
        let before = self.provider.storage.client(id).await?.ok_or(AdminError::Unknown("client"))?;
        let registered = |uris: Option<Vec<String>>, before| match uris {
            Some(uris) => self.register_redirect_uris(uris),
            None => Ok(before),
        };
        let client = Client {
            name: change.name.unwrap_or(before.name),
            redirect_uris: registered(change.redirect_uris, before.redirect_uris)?,
            post_logout_redirect_uris: registered(
                change.post_logout_redirect_uris,
                before.post_logout_redirect_uris,
            )?,
            grants: change.grants.unwrap_or(before.grants),
            scope: change.scope.unwrap_or(before.scope),
            audience: change.audience.unwrap_or(before.audience),
            id_token_alg: change.id_token_alg.unwrap_or(before.id_token_alg),
            ..before
        };
        client.check()?;
        self.put(&client).await?;
        self.provider
            .record(AuditEvent::ClientChanged, AuditContext { client: Some(&client.id), ..self.context() })
            .await;
        Ok(client)
    }

    /// Gives a client a new secret. With `keep_previous` the newest of its former secrets stays valid until the next
    /// rotation.
    ///
    /// # Errors
    /// [`AdminError`]; a public client has no secret.
    pub async fn rotate_client_secret(
        &self,
        id: &ClientId,
        keep_previous: bool,
    ) -> Result<SecretString, AdminError> {
        let mut client = self.provider.storage.client(id).await?.ok_or(AdminError::Unknown("client"))?;
        let ClientKind::Confidential { secrets } = &mut client.kind else {
            return Err(AdminError::Client(BadClient::NoSecret));
        };
        let (secret, digest): (SecretString, Digest) = self.provider.random.secret("mgx_cs_");
        secrets.truncate(usize::from(keep_previous));
        secrets.insert(0, digest);
        self.put(&client).await?;
        self.provider
            .record(AuditEvent::ClientChanged, AuditContext { client: Some(id), ..self.context() })
            .await;
        Ok(secret)
    }

    /// Removes a client and revokes its grants.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn remove_client(&self, id: &ClientId) -> Result<(), AdminError> {
        let context = AuditContext { client: Some(id), ..self.context() };
        self.provider.revoke(&GrantFilter::Client(id.clone()), context).await?;
        if !self.provider.storage.remove_client(id).await? {
            return Err(AdminError::Unknown("client"));
        }
        self.provider.origins.forget();
        self.provider.record(AuditEvent::ClientRemoved, context).await;
        Ok(())
    }

    /// Stores a client, whose pages may have another origin from now on.
    async fn put(&self, client: &Client) -> Result<(), StorageError> {
        self.provider.storage.put_client(client).await?;
        self.provider.origins.forget();
        Ok(())
    }

    fn register_redirect_uris(&self, uris: Vec<String>) -> Result<Vec<RedirectUri>, AdminError> {
        let register = |uri: String| {
            RedirectUri::register(&uri, &self.provider.settings.issuer)
                .map_err(|source| AdminError::Redirect { uri, source })
        };
        uris.into_iter().map(register).collect()
    }
}
