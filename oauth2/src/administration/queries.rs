//! Queries of accounts: users, clients, API tokens, browser sessions and the audit log.

use crate::accounts::api_token::ApiToken;
use crate::accounts::audit::AuditEntry;
use crate::accounts::browser_session::BrowserSession;
use crate::accounts::user::User;
use crate::base::ids::{ClientId, UserId, Username};
use crate::clients::client::Client;
use crate::provider::Provider;
use crate::storage::StorageError;

impl Provider {
    /// The users in the order of their names: at most `limit`, after the name `after`.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn users(&self, after: Option<&Username>, limit: usize) -> Result<Vec<User>, StorageError> {
        self.storage.users(after, limit).await
    }

    /// The user with this id, unless the user is disabled.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn enabled_user(&self, id: UserId) -> Result<Option<User>, StorageError> {
        Ok(self.storage.user(id).await?.filter(|user| !user.disabled))
    }

    /// The user with this name.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn user_named(&self, name: &Username) -> Result<Option<User>, StorageError> {
        self.storage.user_named(name).await
    }

    /// The clients in the order of their ids: at most `limit`, after the id `after`.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Client>, StorageError> {
        self.storage.clients(after, limit).await
    }

    /// The client with this id.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn client(&self, id: &ClientId) -> Result<Option<Client>, StorageError> {
        self.storage.client(id).await
    }

    /// The API tokens of a user, newest first.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn api_tokens_of(&self, user: UserId) -> Result<Vec<ApiToken>, StorageError> {
        self.storage.api_tokens_of(user).await
    }

    /// The browser sessions of a user, newest first, at most `limit`.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn sessions_of(&self, user: UserId, limit: usize) -> Result<Vec<BrowserSession>, StorageError> {
        self.storage.sessions_of(user, self.clock.now(), limit).await
    }

    /// The entries of the audit log, newest first, with their numbers: at most `limit`, before the number `before`.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn audit_log(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditEntry)>, StorageError> {
        self.storage.audit_log(before, limit).await
    }
}
