//! What the provider must not forget. Whoever keeps it implements these traits; `conformance` says whether it does.

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

/// Why nothing was stored or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// There is no space. The operator makes some.
    #[error("there is no space left to store anything")]
    Full,
    /// It cannot be reached. Try again.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

impl From<StorageError> for OAuthError {
    fn from(error: StorageError) -> Self {
        tracing::warn!(%error, "the provider's store does not answer");
        Self::unavailable("nothing was stored or read")
    }
}

/// Everything that is stored.
pub trait Storage: Accounts + Grants + Sessions {}

impl<T: Accounts + Grants + Sessions> Storage for T {}

/// Users with their API tokens, clients, and the audit log. A write that has returned is durable; that holds for all of these traits.
#[async_trait]
pub trait Accounts: Send + Sync + fmt::Debug {
    /// Adds a user; `false` if there is one of this id or name.
    async fn add_user(&self, user: &User) -> Result<bool, StorageError>;
    /// A user.
    async fn user(&self, id: UserId) -> Result<Option<User>, StorageError>;
    /// A user by name.
    async fn user_named(&self, name: &Username) -> Result<Option<User>, StorageError>;
    /// Users in the order of their names, at most `limit`, from after `after`.
    async fn users(&self, after: Option<&Username>, limit: usize) -> Result<Vec<User>, StorageError>;
    /// Writes everything but the password; `false` if there is no such user, or the name is another's.
    async fn change_user(&self, user: &User) -> Result<bool, StorageError>;
    /// Sets the password if it still is `from`. Whether it was.
    async fn set_password(
        &self,
        id: UserId,
        from: Option<&PasswordHash>,
        to: &PasswordHash,
    ) -> Result<bool, StorageError>;
    /// Removes a user, with sessions, grants, consents and API tokens. Whether there was one.
    async fn remove_user(&self, id: UserId) -> Result<bool, StorageError>;

    /// Adds a client, or changes it.
    async fn put_client(&self, client: &Client) -> Result<(), StorageError>;
    /// A client.
    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StorageError>;
    /// Clients in the order of their ids, at most `limit`, from after `after`.
    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Client>, StorageError>;
    /// Removes a client, with grants, devices and consents. Whether there was one.
    async fn remove_client(&self, id: &ClientId) -> Result<bool, StorageError>;

    /// Writes a new API token.
    async fn add_api_token(&self, token: &ApiToken) -> Result<(), StorageError>;
    /// The API token of this hash.
    async fn api_token(&self, digest: Digest) -> Result<Option<ApiToken>, StorageError>;
    /// The API tokens of a user, newest first.
    async fn api_tokens_of(&self, user: UserId) -> Result<Vec<ApiToken>, StorageError>;
    /// Removes an API token of this user. Whether there was one.
    async fn remove_api_token(&self, user: UserId, id: TokenId) -> Result<bool, StorageError>;

    /// Writes an entry. Of more than 100,000 the oldest may be forgotten.
    async fn add_audit_entry(&self, entry: &AuditEntry) -> Result<(), StorageError>;
    /// The newest entries first, at most `limit`, from before the one of number `before`.
    async fn audit_log(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditEntry)>, StorageError>;
}

/// Grants with their codes and refresh tokens, what was taken back, and what need not be asked again.
#[async_trait]
pub trait Grants: Send + Sync + fmt::Debug {
    /// Writes a new grant, with its code if there is one.
    async fn add_grant(&self, grant: &Grant, code: Option<&AuthorizationCode>) -> Result<(), StorageError>;
    /// A grant.
    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StorageError>;
    /// The grant of a family of refresh tokens.
    async fn grant_of_refresh_token(&self, family: Digest) -> Result<Option<Grant>, StorageError>;
    /// The grants of a user that count at `now`, newest first, at most `limit`.
    async fn grants_of(&self, user: UserId, now: Timestamp, limit: usize)
    -> Result<Vec<Grant>, StorageError>;
    /// [`AuthorizationCode::redeem`], once for each code however many ask at the same time.
    async fn redeem_code(&self, code: Digest, now: Timestamp) -> Result<CodeRedemption, StorageError>;
    /// Says how long a grant goes on, and with which refresh token; `false` if it has been revoked meanwhile.
    async fn extend_grant(
        &self,
        id: GrantId,
        expires_at: Timestamp,
        refresh: Option<StoredRefreshToken>,
    ) -> Result<bool, StorageError>;
    /// [`Grant::rotate`], one after the other however many ask at the same time.
    async fn rotate_refresh_token(
        &self,
        family: Digest,
        turn: Digest,
        client: &ClientId,
        next: StoredRefreshToken,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StorageError>;
    /// Revokes grants; the ids of those that counted until now.
    async fn revoke_grants(&self, filter: &GrantFilter, now: Timestamp)
    -> Result<Vec<GrantId>, StorageError>;
    /// Remembers until `until` that a token or the tokens of a grant do not count.
    async fn revoke_tokens(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StorageError>;
    /// What was remembered so and still has to be at `now`.
    async fn revoked_tokens(&self, now: Timestamp) -> Result<Vec<(Uuid, Timestamp)>, StorageError>;
    /// What this user has allowed this client before.
    async fn consent(&self, user: UserId, client: &ClientId) -> Result<Option<Scope>, StorageError>;
    /// Remembers it.
    async fn set_consent(&self, user: UserId, client: &ClientId, scope: &Scope) -> Result<(), StorageError>;
    /// Forgets grants, codes, devices, sessions and revoked tokens that ended before `now`, at most `limit` of each.
    async fn delete_expired(&self, now: Timestamp, limit: usize) -> Result<usize, StorageError>;
}

/// Browsers in which somebody is signed in, and devices that wait for somebody.
#[async_trait]
pub trait Sessions: Send + Sync + fmt::Debug {
    /// Writes a new session.
    async fn add_session(&self, session: &BrowserSession) -> Result<(), StorageError>;
    /// The session of a cookie, if it has not ended at `now`.
    async fn session_of_cookie(
        &self,
        cookie: Digest,
        now: Timestamp,
    ) -> Result<Option<BrowserSession>, StorageError>;
    /// The sessions of a user that have not ended at `now`, newest first, at most `limit`.
    async fn sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<BrowserSession>, StorageError>;
    /// Ends a session. Whether there was one.
    async fn remove_session(&self, id: SessionId) -> Result<bool, StorageError>;
    /// Ends every session of a user.
    async fn remove_sessions_of(&self, user: UserId) -> Result<(), StorageError>;

    /// Writes a new device; `false` if another one that has not expired has the same user code.
    async fn add_device(&self, device: &Device, now: Timestamp) -> Result<bool, StorageError>;
    /// The device of a user code.
    async fn device(&self, code: &UserCode) -> Result<Option<Device>, StorageError>;
    /// Writes what somebody has said, with the grant if it was yes; `false` if it is not open any more.
    async fn decide_device(
        &self,
        code: &UserCode,
        allowed: Option<&Grant>,
        now: Timestamp,
    ) -> Result<bool, StorageError>;
    /// [`Device::poll`], one after the other however many ask at the same time.
    async fn poll_device(
        &self,
        device: Digest,
        client: &ClientId,
        now: Timestamp,
    ) -> Result<DevicePoll<Box<Grant>>, StorageError>;
}
