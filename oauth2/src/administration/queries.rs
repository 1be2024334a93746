//! What administrators, and users of their own, look at: users, clients, API tokens, browsers, the audit log.

use crate::accounts::api_token::ApiToken;
use crate::accounts::audit::AuditEntry;
use crate::accounts::browser_session::BrowserSession;
use crate::accounts::user::User;
use crate::base::ids::{ClientId, UserId, Username};
use crate::clients::client::Client;
use crate::provider::Provider;
use crate::storage::StorageError;

impl Provider {
    /// Users in the order of their names, at most `limit`, from after `after`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn users(&self, after: Option<&Username>, limit: usize) -> Result<Vec<User>, StorageError> {
        self.storage.users(after, limit).await
    }

    /// The user of this name.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn user_named(&self, name: &Username) -> Result<Option<User>, StorageError> {
        self.storage.user_named(name).await
    }

    /// Clients in the order of their ids, at most `limit`, from after `after`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Client>, StorageError> {
        self.storage.clients(after, limit).await
    }

    /// A client.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn client(&self, id: &ClientId) -> Result<Option<Client>, StorageError> {
        self.storage.client(id).await
    }

    /// The API tokens of a user, newest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn api_tokens_of(&self, user: UserId) -> Result<Vec<ApiToken>, StorageError> {
        self.storage.api_tokens_of(user).await
    }

    /// The browsers in which a user is signed in, newest first, at most `limit`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn sessions_of(&self, user: UserId, limit: usize) -> Result<Vec<BrowserSession>, StorageError> {
        self.storage.sessions_of(user, self.clock.now(), limit).await
    }

    /// The newest entries of the audit log first, at most `limit`, from before the one of number `before`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn audit_log(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditEntry)>, StorageError> {
        self.storage.audit_log(before, limit).await
    }
}
