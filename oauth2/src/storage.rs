//! The storage of the provider: three traits, which the suite in [`conformance`] checks.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::accounts::api_token::ApiToken;
use crate::accounts::audit::AuditEntry;
use crate::accounts::browser_session::BrowserSession;
use crate::accounts::user::{PasswordHash, User};
use crate::base::digest::Digest;
use crate::base::error::OAuthError;
use crate::base::ids::{ClientId, GrantId, SessionId, TokenId, UserId, Username};
use crate::base::scope::Scope;
use crate::clients::client::Client;
use crate::grants::authorization_code::{AuthorizationCode, CodeRedemption};
use crate::grants::device::{Device, DevicePoll};
use crate::grants::grant::{Grant, GrantFilter, RefreshOutcome};
use crate::grants::refresh_token::StoredRefreshToken;
use crate::grants::user_code::UserCode;

#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
pub(crate) mod memory;

/// Why the storage did not read or write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// There is no space left, which the operator has to provide.
    #[error("there is no space left to store anything")]
    Full,
    /// The storage does not respond. The caller may try again.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

impl From<StorageError> for OAuthError {
    fn from(error: StorageError) -> Self {
        tracing::warn!(%error, "the storage of the provider does not respond");
        Self::unavailable("the storage does not respond")
    }
}

/// A storage of everything that the provider persists.
pub trait Storage: Accounts + Grants + Sessions {}

impl<T: Accounts + Grants + Sessions> Storage for T {}

/// Users with their API tokens, clients, and the audit log. In all three traits a write is durable when it returns.
#[async_trait]
pub trait Accounts: Send + Sync + fmt::Debug {
    /// Adds a user; `false` if there is a user with this id or name.
    async fn add_user(&self, user: &User) -> Result<bool, StorageError>;
    /// The user with this id.
    async fn user(&self, id: UserId) -> Result<Option<User>, StorageError>;
    /// The user with this name.
    async fn user_named(&self, name: &Username) -> Result<Option<User>, StorageError>;
    /// The users in the order of their names: at most `limit`, after the name `after`.
    async fn users(&self, after: Option<&Username>, limit: usize) -> Result<Vec<User>, StorageError>;
    /// Replaces everything but the password; `false` if there is no such user, or another user has the name.
    async fn change_user(&self, user: &User) -> Result<bool, StorageError>;
    /// Sets the password if it is still `from`. Whether it was.
    async fn set_password(
        &self,
        id: UserId,
        from: Option<&PasswordHash>,
        to: &PasswordHash,
    ) -> Result<bool, StorageError>;
    /// Removes a user with their sessions, grants, consents and API tokens. Whether there was one.
    async fn remove_user(&self, id: UserId) -> Result<bool, StorageError>;

    /// Adds or replaces a client.
    async fn put_client(&self, client: &Client) -> Result<(), StorageError>;
    /// The client with this id.
    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StorageError>;
    /// The clients in the order of their ids: at most `limit`, after the id `after`.
    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Client>, StorageError>;
    /// Removes a client with its grants, devices and consents. Whether there was one.
    async fn remove_client(&self, id: &ClientId) -> Result<bool, StorageError>;

    /// Adds an API token.
    async fn add_api_token(&self, token: &ApiToken) -> Result<(), StorageError>;
    /// The API token with this hash.
    async fn api_token(&self, digest: Digest) -> Result<Option<ApiToken>, StorageError>;
    /// The API tokens of a user, newest first.
    async fn api_tokens_of(&self, user: UserId) -> Result<Vec<ApiToken>, StorageError>;
    /// Removes an API token of this user. Whether there was one.
    async fn remove_api_token(&self, user: UserId, id: TokenId) -> Result<bool, StorageError>;

    /// Adds an entry. Beyond 100,000 entries the oldest may be deleted.
    async fn add_audit_entry(&self, entry: &AuditEntry) -> Result<(), StorageError>;
    /// The entries, newest first, with their numbers: at most `limit`, before the number `before`.
    async fn audit_log(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditEntry)>, StorageError>;
}

/// Grants with their codes and refresh tokens, revoked access tokens, and consents.
#[async_trait]
pub trait Grants: Send + Sync + fmt::Debug {
    /// Adds a grant, with its code if there is one.
    async fn add_grant(&self, grant: &Grant, code: Option<&AuthorizationCode>) -> Result<(), StorageError>;
    /// The grant with this id.
    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StorageError>;
    /// The grant with this family of refresh tokens.
    async fn grant_of_refresh_token(&self, family: Digest) -> Result<Option<Grant>, StorageError>;
    /// The grants of a user that are valid at `now`, newest first, at most `limit`.
    async fn grants_of(&self, user: UserId, now: Timestamp, limit: usize)
    -> Result<Vec<Grant>, StorageError>;
    /// Runs [`AuthorizationCode::redeem`] in a transaction: of concurrent calls one is the first.
    async fn redeem_code(&self, code: Digest, now: Timestamp) -> Result<CodeRedemption, StorageError>;
    /// Sets expiry and refresh token of a grant; `false` if it has been revoked or does not exist.
    async fn extend_grant(
        &self,
        id: GrantId,
        expires_at: Timestamp,
        refresh: Option<StoredRefreshToken>,
    ) -> Result<bool, StorageError>;
    /// Runs [`Grant::rotate`] on the grant of this family in a transaction: concurrent calls run one after the other.
    async fn rotate_refresh_token(
        &self,
        family: Digest,
        turn: Digest,
        client: &ClientId,
        next: StoredRefreshToken,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StorageError>;
    /// Revokes grants; the ids of those that were valid at `now`.
    async fn revoke_grants(&self, filter: &GrantFilter, now: Timestamp)
    -> Result<Vec<GrantId>, StorageError>;
    /// Stores until `until` that access tokens, or all access tokens of grants, are revoked.
    async fn revoke_tokens(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StorageError>;
    /// The revoked tokens and grants whose `until` is after `now`.
    async fn revoked_tokens(&self, now: Timestamp) -> Result<Vec<(Uuid, Timestamp)>, StorageError>;
    /// The scope that the user has granted the client before.
    async fn consent(&self, user: UserId, client: &ClientId) -> Result<Option<Scope>, StorageError>;
    /// Replaces the scope that the user has granted the client.
    async fn set_consent(&self, user: UserId, client: &ClientId, scope: &Scope) -> Result<(), StorageError>;
    /// Deletes grants with their codes, devices, sessions and revoked tokens that expired before `now`: at most
    /// `limit` of each. How many.
    async fn delete_expired(&self, now: Timestamp, limit: usize) -> Result<usize, StorageError>;
}

/// Browser sessions, and devices that wait for a decision.
#[async_trait]
pub trait Sessions: Send + Sync + fmt::Debug {
    /// Adds a session.
    async fn add_session(&self, session: &BrowserSession) -> Result<(), StorageError>;
    /// The session with this cookie, if it has not expired at `now`.
    async fn session_of_cookie(
        &self,
        cookie: Digest,
        now: Timestamp,
    ) -> Result<Option<BrowserSession>, StorageError>;
    /// The sessions of a user that have not expired at `now`, newest first, at most `limit`.
    async fn sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<BrowserSession>, StorageError>;
    /// Removes a session. Whether there was one.
    async fn remove_session(&self, id: SessionId) -> Result<bool, StorageError>;
    /// Removes all sessions of a user.
    async fn remove_sessions_of(&self, user: UserId) -> Result<(), StorageError>;

    /// Adds a device; `false` if another device that has not expired has the same user code.
    async fn add_device(&self, device: &Device, now: Timestamp) -> Result<bool, StorageError>;
    /// The device with this user code.
    async fn device(&self, code: &UserCode) -> Result<Option<Device>, StorageError>;
    /// Stores the user's decision, with the grant if it was allowed; `false` if the device is not open any more.
    async fn decide_device(
        &self,
        code: &UserCode,
        allowed: Option<&Grant>,
        now: Timestamp,
    ) -> Result<bool, StorageError>;
    /// Runs [`Device::poll`] in a transaction: concurrent calls run one after the other.
    async fn poll_device(
        &self,
        device: Digest,
        client: &ClientId,
        now: Timestamp,
    ) -> Result<DevicePoll<Box<Grant>>, StorageError>;
}
