//! Users, clients, API tokens and the audit log, in memory.

use async_trait::async_trait;

use crate::accounts::api_token::ApiToken;
use crate::accounts::audit::AuditEntry;
use crate::accounts::user::{PasswordHash, User};
use crate::base::digest::Digest;
use crate::base::ids::{ClientId, TokenId, UserId, Username};
use crate::clients::client::Client;
use crate::storage::memory::MemoryStorage;
use crate::storage::{Accounts, StorageError};

#[async_trait]
impl Accounts for MemoryStorage {
    async fn add_user(&self, user: &User) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let taken = inner.users.values().any(|other| other.id == user.id || other.name == user.name);
        if !taken {
            inner.users.insert(user.id, user.clone());
        }
        Ok(!taken)
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StorageError> {
        Ok(self.lock().users.get(&id).cloned())
    }

    async fn user_named(&self, name: &Username) -> Result<Option<User>, StorageError> {
        Ok(self.lock().users.values().find(|user| user.name == *name).cloned())
    }

    async fn users(&self, after: Option<&Username>, limit: usize) -> Result<Vec<User>, StorageError> {
        let mut users: Vec<User> = self.lock().users.values().cloned().collect();
        users.sort_by(|one, other| one.name.cmp(&other.name));
        users.retain(|user| after.is_none_or(|after| user.name > *after));
        users.truncate(limit);
        Ok(users)
    }

    async fn change_user(&self, user: &User) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        if inner.users.values().any(|other| other.id != user.id && other.name == user.name) {
            return Ok(false);
        }
        let Some(known) = inner.users.get_mut(&user.id) else { return Ok(false) };
        *known = User { password: known.password.clone(), ..user.clone() };
        Ok(true)
    }

    async fn set_password(
        &self,
        id: UserId,
        from: Option<&PasswordHash>,
        to: &PasswordHash,
    ) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let Some(user) = inner.users.get_mut(&id).filter(|user| user.password.as_ref() == from) else {
            return Ok(false);
        };
        user.password = Some(to.clone());
        Ok(true)
    }

    async fn remove_user(&self, id: UserId) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        inner.sessions.retain(|_, session| session.user != id);
        inner.consents.retain(|(user, _), _| *user != id);
        inner.api_tokens.retain(|_, token| token.user != id);
        inner.forget_grants(|grant| grant.user == id);
        Ok(inner.users.remove(&id).is_some())
    }

    async fn put_client(&self, client: &Client) -> Result<(), StorageError> {
        self.lock().clients.insert(client.id.clone(), client.clone());
        Ok(())
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StorageError> {
        Ok(self.lock().clients.get(id).cloned())
    }

    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Client>, StorageError> {
        let inner = self.lock();
        let later = inner.clients.values().filter(|client| after.is_none_or(|after| client.id > *after));
        Ok(later.take(limit).cloned().collect())
    }

    async fn remove_client(&self, id: &ClientId) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        inner.consents.retain(|(_, client), _| client != id);
        inner.devices.retain(|_, device| device.client != *id);
        inner.forget_grants(|grant| grant.client == *id);
        Ok(inner.clients.remove(id).is_some())
    }

    async fn add_api_token(&self, token: &ApiToken) -> Result<(), StorageError> {
        self.lock().api_tokens.insert(token.id, token.clone());
        Ok(())
    }

    async fn api_token(&self, digest: Digest) -> Result<Option<ApiToken>, StorageError> {
        Ok(self.lock().api_tokens.values().find(|token| token.digest == digest).cloned())
    }

    async fn api_tokens_of(&self, user: UserId) -> Result<Vec<ApiToken>, StorageError> {
        let mut tokens: Vec<ApiToken> = self.lock().api_tokens.values().cloned().collect();
        tokens.retain(|token| token.user == user);
        tokens.sort_by_key(|token| std::cmp::Reverse(token.created_at));
        Ok(tokens)
    }

    async fn remove_api_token(&self, user: UserId, id: TokenId) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let is_theirs = inner.api_tokens.get(&id).is_some_and(|token| token.user == user);
        Ok(is_theirs && inner.api_tokens.remove(&id).is_some())
    }

    async fn add_audit_entry(&self, entry: &AuditEntry) -> Result<(), StorageError> {
        self.lock().audit.push(entry.clone());
        Ok(())
    }

    async fn audit_log(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditEntry)>, StorageError> {
        let inner = self.lock();
        let numbered = (1..).zip(inner.audit.iter().cloned());
        let mut log: Vec<_> =
            numbered.filter(|(number, _)| before.is_none_or(|before| *number < before)).collect();
        log.reverse();
        log.truncate(limit);
        Ok(log)
    }
}
